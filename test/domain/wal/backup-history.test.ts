import { backupHistoryKey, timelineOfBackupHistory } from '../../../lib/domain/wal/backup-history.ts';
import { parsePitrKey } from '../../../lib/domain/wal/keys.ts';

const SERIES = { app: 'hostmaster', systemIdentifier: '7300000000000000001' };
const NAME = '000000020000000A000000FF.00000028.backup';

describe('Backup history files', () => {
  it('are told by their names', () => {
    expect(timelineOfBackupHistory(NAME)).toBe(2);
    for (const other of ['000000020000000A000000FF', '00000002.history', `${NAME}.gz`, `x${NAME}`, '']) {
      expect(timelineOfBackupHistory(other)).toBeUndefined();
    }
  });

  it('lie beside the timeline’s segments, where nothing that reads WAL takes them for some', () => {
    const key = backupHistoryKey(SERIES, 2, NAME);
    expect(key).toBe(`pitr/hostmaster/7300000000000000001/wal/00000002/${NAME}`);
    expect(parsePitrKey(key)).toBeUndefined();
  });

  it('have no key on another timeline, and other names have none', () => {
    expect(() => backupHistoryKey(SERIES, 1, NAME)).toThrow('no backup history file of timeline 1');
    expect(() => backupHistoryKey(SERIES, 2, `../${NAME}`)).toThrow('no backup history file');
  });
});

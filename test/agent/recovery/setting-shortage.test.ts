import { hearShortage } from '../../../scripts/agent/recovery/setting-shortage.ts';

describe('What a recovered server says that it has too little of', () => {
  it.each([
    [
      'DETAIL:  max_connections = 100 is a lower setting than on the primary server, where its value was 150.',
      { setting: 'max_connections', value: 150 },
    ],
    [
      'HINT:  Increase max_prepared_transactions (currently 0).',
      { setting: 'max_prepared_transactions', value: 100 },
    ],
    [
      'HINT:  Increase "max_prepared_transactions" (currently 100).',
      { setting: 'max_prepared_transactions', value: 400 },
    ],
    [
      'PANIC:  could not find free replication state, increase max_replication_slots',
      { setting: 'max_replication_slots', value: 65_535 },
    ],
    [
      'HINT:  Increase "max_active_replication_origins" and try again.',
      { setting: 'max_active_replication_origins', value: 65_535 },
    ],
    ['LOG:  redo starts at 0/2000028', undefined],
  ])('is read from its log: %s', (line, expected) => {
    expect(hearShortage(`2026-01-17 08:55:00.000 UTC [1] ${line}`)).toEqual(expected);
  });
});

import type { UnitState } from '../ports/install.ts';

/** What `unitState` asks of systemctl(1) show. */
export const UNIT_PROPERTIES = 'ActiveState,SubState,Result,ExecMainStatus,NeedDaemonReload';

/** @param shown `Name=value`, a line each, in whatever order systemd has */
export function parseUnitState(shown: string): UnitState {
  const values = new Map(
    shown.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)] as const;
    }),
  );
  const status = values.get('ExecMainStatus') ?? '';
  return {
    active: values.get('ActiveState') || 'unknown',
    sub: values.get('SubState') ?? '',
    result: values.get('Result') ?? '',
    exitStatus: /^\d+$/.test(status) ? Number(status) : undefined,
    needsReload: values.get('NeedDaemonReload') === 'yes',
  };
}

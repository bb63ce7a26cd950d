import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export interface StandInUnit {
  readonly name: string;
  readonly dataDir: string;
  /** Folder of pg_ctl. */
  readonly binDir: string;
  /** Whom it runs as, where root starts it. */
  readonly user: string | undefined;
}

/**
 * A `systemctl` of a host with one PostgreSQL unit, as RHEL and Amazon Linux have it. `show` answers as systemd does: a block for
 * each unit asked for, in systemd's own order of properties, units that it does not know included, with status 0.
 * https://www.freedesktop.org/software/systemd/man/latest/systemctl.html
 */
export function writeSystemctl(folder: string, unit: StandInUnit): string {
  const file = path.join(folder, 'systemctl');
  const as = unit.user === undefined ? '' : `runuser -u ${unit.user} -- `;
  const pgCtl = `${as}'${unit.binDir}/pg_ctl' -D '${unit.dataDir}' -w -l '${folder}/server.log'`;
  writeFileSync(
    file,
    `#!/bin/sh
echo "$@" >> '${folder}/systemctl.log'
case $1 in
  show)
    first=1
    for name in "$@"; do
      case $name in show | --*) continue ;; esac
      [ $first = 1 ] || echo
      first=0
      if [ "$name" = '${unit.name}' ]; then
        pid=$(head -1 '${unit.dataDir}/postmaster.pid' 2>/dev/null || echo 0)
        printf '%s\\n' "MainPID=$pid" 'Environment=PGDATA=${unit.dataDir} PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0' "Id=$name" 'LoadState=loaded'
      else
        printf '%s\\n' 'MainPID=0' 'Environment=' "Id=$name" 'LoadState=not-found'
      fi
    done
    ;;
  stop | start)
    [ "$2" = '${unit.name}' ] || { echo "Failed to $1 $2: Unit $2 not loaded." >&2; exit 5; }
    exec ${pgCtl} $1 >/dev/null
    ;;
esac
`,
  );
  chmodSync(file, 0o755);
  return folder;
}

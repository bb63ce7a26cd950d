import { displayName } from '../backup/series.ts';
import { escapeForUnit, quoteForExec, quoteForUnit } from './quoting.ts';
import { markerOf, type ScheduledBackup } from './schedule.ts';

export interface SystemdBackup extends ScheduledBackup {
  readonly backupDir: string;
  /** Where PostgreSQL's socket lies, when DB_HOST is a folder. */
  readonly socketFolder: string | undefined;
  /** Whether messages leave through this host's own sendmail. */
  readonly localMail: boolean;
}

export function serviceName(app: string): string {
  return `${app}-backup.service`;
}

export function timerName(app: string): string {
  return `${app}-backup.timer`;
}

export function walServiceName(app: string): string {
  return `${app}-wal.service`;
}

/** systemd.service(5), systemd.exec(5). */
export function renderService(backup: SystemdBackup): string {
  const folder = quoteForUnit(backup.backupDir);
  return [
    markerOf(backup.app),
    '[Unit]',
    `Description=${displayName(backup.app)} Database Backup`,
    'Wants=network-online.target',
    'After=network-online.target postgresql.service',
    `RequiresMountsFor=${folder}`,
    '',
    '[Service]',
    'Type=oneshot',
    `User=${backup.user}`,
    `EnvironmentFile=${escapeForUnit(backup.environmentFile)}`,
    `ExecStart=${renderCommand(backup.command)}`,
    '# Shorter than a day: a backup that hangs must not keep the next night’s from starting.',
    'TimeoutStartSec=23h',
    '# The agent alone is told to stop, and ends pg_dump itself; what is left after this time is killed.',
    'TimeoutStopSec=2min',
    'KillMode=mixed',
    'Restart=no',
    'UMask=0077',
    `SyslogIdentifier=${backup.app}-backup`,
    '',
    ...renderHardening(backup, folder),
    '',
  ].join('\n');
}

/**
 * The stream of WAL to S3: runs with the host, and is started again whatever ended it, but for wrong settings. A backup
 * that it asks for after a hole runs within it, so it may do what a backup may.
 */
export function renderWalService(stream: SystemdBackup): string {
  const folder = quoteForUnit(stream.backupDir);
  return [
    markerOf(stream.app),
    '[Unit]',
    `Description=${displayName(stream.app)} WAL to S3`,
    'Wants=network-online.target',
    'After=network-online.target postgresql.service',
    `RequiresMountsFor=${folder}`,
    '# It is tried again for ever: a database without it cannot be restored to a point in time.',
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    'Type=exec',
    `User=${stream.user}`,
    `EnvironmentFile=${escapeForUnit(stream.environmentFile)}`,
    `ExecStart=${renderCommand(stream.command)}`,
    'Restart=always',
    'RestartSec=30s',
    'RestartPreventExitStatus=2',
    '# The agent ends within five seconds; what S3 has not got then, the replication slot keeps.',
    'TimeoutStopSec=15s',
    'KillMode=mixed',
    'UMask=0077',
    `SyslogIdentifier=${stream.app}-wal`,
    '',
    ...renderHardening(stream, folder),
    '',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ].join('\n');
}

/**
 * systemd starts no program whose path holds a quote or a backslash, and does not read `$$` in it. Our launchers are
 * shell scripts, so the shell, whose arguments may hold anything, starts them then.
 */
function renderCommand(command: readonly string[]): string {
  const plain = !/['"\\$]/.test(command[0] ?? '');
  return (plain ? command : ['/bin/sh', ...command]).map(quoteForExec).join(' ');
}

/** systemd.timer(5). Without Requires= on the service, which would start a backup with every boot. */
export function renderTimer(app: string): string {
  return [
    markerOf(app),
    '[Unit]',
    `Description=Daily ${displayName(app)} Database Backup`,
    '',
    '[Timer]',
    'OnCalendar=*-*-* 02:00:00 UTC',
    '# A night that the host slept through is made up for when it wakes.',
    'Persistent=true',
    `Unit=${serviceName(app)}`,
    '',
    '[Install]',
    'WantedBy=timers.target',
    '',
  ].join('\n');
}

function renderHardening(backup: SystemdBackup, folder: string): string[] {
  const everywhere = [
    // Read-only, not hidden: the AWS SDK reads ~/.aws.
    'ProtectHome=read-only',
    ...renderPrivateTmp(backup),
    'ProtectControlGroups=yes',
  ];
  if (backup.localMail) {
    return [
      '# Mail leaves through this host’s sendmail, which must be able to gain rights (setgid postdrop, setuid exim) and to',
      '# write its queue. With SMTP_URL set, lifeboat install writes a stricter unit.',
      'ProtectSystem=full',
      ...everywhere,
    ];
  }
  return ['ProtectSystem=strict', `ReadWritePaths=${folder}`, ...everywhere, ...STRICT];
}

/** With a /tmp and a /var/tmp of its own the service would not see what lies in the host's. */
function renderPrivateTmp({ backupDir, socketFolder, command }: SystemdBackup): string[] {
  const found = [
    ...(isInTmp(socketFolder) ? ['PostgreSQL’s socket'] : []),
    ...(isInTmp(backupDir) ? ['BACKUP_DIR'] : []),
    ...(isInTmp(command[0]) ? ['the agent'] : []),
  ];
  if (found.length === 0) return ['PrivateTmp=yes'];
  return [`# In the host’s own /tmp or /var/tmp: ${found.join(', ')}.`, 'PrivateTmp=no'];
}

function isInTmp(path = ''): boolean {
  return /^\/(?:var\/)?tmp(?:\/|$)/.test(path);
}

/** No MemoryDenyWriteExecute: the runtime compiles JavaScript into memory that it then runs. */
const STRICT = [
  'NoNewPrivileges=yes',
  'CapabilityBoundingSet=',
  'AmbientCapabilities=',
  'PrivateDevices=yes',
  'ProtectClock=yes',
  'ProtectHostname=yes',
  'ProtectKernelLogs=yes',
  'ProtectKernelModules=yes',
  'ProtectKernelTunables=yes',
  'LockPersonality=yes',
  'RestrictNamespaces=yes',
  'RestrictRealtime=yes',
  'RestrictSUIDSGID=yes',
  // AF_NETLINK: how the C library learns whether the host has IPv6.
  'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
  'SystemCallArchitectures=native',
  'SystemCallFilter=@system-service',
  'SystemCallErrorNumber=EPERM',
];

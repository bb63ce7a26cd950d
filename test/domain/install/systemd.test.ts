import {
  renderService,
  renderTimer,
  renderWalService,
  type SystemdBackup,
} from '../../../lib/domain/install/systemd.ts';

const BACKUP: SystemdBackup = {
  app: 'hostmaster',
  user: 'postgres',
  command: ['/opt/lifeboat/bin/lifeboat', 'backup'],
  environmentFile: '/etc/lifeboat/hostmaster.env',
  backupDir: '/var/backups/hostmaster',
  socketFolder: '/var/run/postgresql',
  localMail: false,
};

describe('the service unit', () => {
  it('runs the backup once, as the user, confined to the backups’ folder', () => {
    const lines = renderService(BACKUP).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'Description=HostMaster Database Backup',
        'After=network-online.target postgresql.service',
        'Type=oneshot',
        'User=postgres',
        'EnvironmentFile=/etc/lifeboat/hostmaster.env',
        'ExecStart=/opt/lifeboat/bin/lifeboat backup',
        'NoNewPrivileges=yes',
        'ProtectSystem=strict',
        'ReadWritePaths=/var/backups/hostmaster',
        'PrivateTmp=yes',
        'ProtectHome=read-only',
      ]),
    );
    // The compiler of the runtime needs memory that it may write and run; an [Install] would start a backup at boot.
    expect(lines.join('\n')).not.toMatch(/MemoryDenyWriteExecute|\[Install\]/);
  });

  it('keeps spaces, quotes, backslashes, percent and dollar signs in paths what they are', () => {
    const nasty = `/srv/it's 100% "mine" \\ $HOME`;
    const service = renderService({
      ...BACKUP,
      backupDir: nasty,
      command: [nasty, 'backup'],
      environmentFile: nasty,
    });
    expect(service).toContain(`\nReadWritePaths="/srv/it's 100%% \\"mine\\" \\\\ $HOME"\n`);
    expect(service).toContain(`\nExecStart=/bin/sh "/srv/it's 100%% \\"mine\\" \\\\ $$HOME" backup\n`);
    expect(service).toContain(`\nEnvironmentFile=/srv/it's 100%% "mine" \\ $HOME\n`);
  });

  it('lets no path add a line to the unit', () => {
    expect(() => renderService({ ...BACKUP, backupDir: '/srv/a\nExecStartPre=/bin/id' })).toThrow(
      'control character',
    );
  });

  it('leaves the host’s /tmp in sight when PostgreSQL’s socket lies there', () => {
    expect(renderService({ ...BACKUP, socketFolder: '/tmp' })).toContain('\nPrivateTmp=no\n');
    expect(renderService({ ...BACKUP, socketFolder: '/tmpfoo' })).toContain('\nPrivateTmp=yes\n');
  });

  it.each(['/tmp/backups', '/var/tmp/backups'])(
    'leaves the host’s temporary folders in sight when the backups go to %s, and says why',
    (backupDir) => {
      const service = renderService({ ...BACKUP, backupDir });
      expect(service).toContain('\n# In the host’s own /tmp or /var/tmp: BACKUP_DIR.\nPrivateTmp=no\n');
      expect(service).toContain(`\nReadWritePaths=${backupDir}\n`);
    },
  );

  it('leaves them in sight when the agent itself lies there', () => {
    const command = ['/tmp/lifeboat/bin/lifeboat', 'backup'];
    expect(renderService({ ...BACKUP, command })).toContain('\nPrivateTmp=no\n');
  });

  it('does not take from sendmail the rights that it needs, and says why', () => {
    const service = renderService({ ...BACKUP, localMail: true });
    expect(service).toContain('# Mail leaves through this host’s sendmail');
    // Any one of these implies NoNewPrivileges for a service with User=, or locks the mail queue.
    expect(service).not.toMatch(
      /NoNewPrivileges|ProtectSystem=strict|SystemCall|Restrict|LockPersonality|PrivateDevices|ProtectKernel|ProtectClock|CapabilityBoundingSet/,
    );
  });
});

describe('the timer unit', () => {
  it('is due at 02:00 UTC, makes up for a missed night, and does not pull the service in at boot', () => {
    const timer = renderTimer('hostmaster');
    expect(timer).toContain('\nDescription=Daily HostMaster Database Backup\n');
    expect(timer).toContain('\nOnCalendar=*-*-* 02:00:00 UTC\n');
    expect(timer).toContain('\nPersistent=true\n');
    expect(timer).toContain('\nWantedBy=timers.target\n');
    expect(timer).not.toContain('Requires=');
  });
});

describe('the unit of the WAL stream', () => {
  const STREAM = { ...BACKUP, command: ['/opt/lifeboat/bin/lifeboat', 'wal', 'stream'] };

  it('runs with the host, for ever, unless its settings are wrong', () => {
    const lines = renderWalService(STREAM).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'Description=HostMaster WAL to S3',
        'Type=exec',
        'User=postgres',
        'ExecStart=/opt/lifeboat/bin/lifeboat wal stream',
        'Restart=always',
        'RestartPreventExitStatus=2',
        'StartLimitIntervalSec=0',
        'WantedBy=multi-user.target',
        'SyslogIdentifier=hostmaster-wal',
      ]),
    );
  });

  it('may do no more than the backup', () => {
    const hardening = (unit: string): string[] =>
      unit
        .split('\n')
        .filter((line) =>
          /^(?:NoNew|Cap|Ambient|Private|Protect|Restrict[^P]|Lock|System|ReadWrite)/.test(line),
        );
    expect(hardening(renderWalService(STREAM)).filter((line) => !line.startsWith('RestartSec'))).toEqual(
      hardening(renderService(BACKUP)),
    );
  });
});

/** The host as an installation sees it: its users, its system folders, its schedulers. */
export interface Machine {
  facts(): Promise<MachineFacts>;
  /** `undefined` when there is no such user. */
  findUser(name: string): Promise<MachineUser | undefined>;
  /** `undefined` when there is no such file. @throws LifeboatError DISK_FAILED */
  readFile(path: string): Promise<string | undefined>;
  /** Replaces the file in one step, or only sets its mode and owner when the text is the same. @throws LifeboatError DISK_FAILED */
  writeFile(path: string, text: string, access: Access): Promise<'written' | 'unchanged'>;
  /** Nothing happens to a file that is there. @throws LifeboatError DISK_FAILED */
  createFile(path: string, access: Access): Promise<'created' | 'unchanged'>;
  /** With its parents; nothing happens to a folder that is there. @throws LifeboatError DISK_FAILED */
  createFolder(path: string, access: Access): Promise<'created' | 'unchanged'>;
  /** Idempotent. @throws LifeboatError DISK_FAILED */
  removeFile(path: string): Promise<void>;
  folderExists(path: string): Promise<boolean>;
  /** Whether the modes on the way allow this user to reach `path` and what is asked of it. */
  mayAccess(user: MachineUser, path: string, wanted: 'run' | 'write'): Promise<boolean>;
  /** @throws LifeboatError INSTALL_FAILED with what systemctl said */
  systemctl(args: readonly string[]): Promise<void>;
  /** As systemd knows it; of a unit that is not there `inactive`. @throws LifeboatError INSTALL_FAILED */
  unitState(unit: string): Promise<UnitState>;
  /** This user's own crontab, `''` when there is none. @throws LifeboatError INSTALL_FAILED */
  readCrontab(): Promise<string>;
  /** @throws LifeboatError INSTALL_FAILED with what crontab said */
  writeCrontab(text: string): Promise<void>;
}

/** systemctl(1) show, systemd's own words. */
export interface UnitState {
  /** `active`, `inactive`, `failed`, `activating` (also while systemd waits before the next try), … */
  readonly active: string;
  readonly sub: string;
  /** How it ended: `success`, `exit-code`, `signal`, … */
  readonly result: string;
  /** The main process' last one. */
  readonly exitStatus: number | undefined;
  /** Its file is another than systemd has read. */
  readonly needsReload: boolean;
}

export interface MachineFacts {
  /** Whether /etc may be written: by root, or because another folder stands for it. */
  readonly system: boolean;
  readonly user: MachineUser;
  /** Whether systemd runs this host, so that systemctl has someone to talk to. */
  readonly systemdRuns: boolean;
  /** Whether the time zone that cron goes by is UTC all year. */
  readonly zoneIsUtc: boolean;
  /** What starts `lifeboat backup`: the program's absolute path, and arguments. */
  readonly backupCommand: readonly string[];
  /** What starts `lifeboat wal stream`. */
  readonly walCommand: readonly string[];
}

export interface MachineUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

export interface Access {
  readonly mode: number;
  /** Default: whoever runs the installation. */
  readonly owner?: MachineUser;
}

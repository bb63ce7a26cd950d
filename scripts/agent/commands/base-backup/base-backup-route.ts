import type { BackupSender, BaseBackupPorts } from '../../ports/base-backup.ts';
import type { BasePreflight } from './base-backup-preflight.ts';

/** Who reads the cluster's files. */
export interface BackupRoute {
  readonly reader: 'lifeboat' | 'postgresql';
  /** Why PostgreSQL does; where Lifeboat does, the folder that it reads. */
  readonly detail: string;
  /** Someone could have Lifeboat do it, which takes less CPU time. */
  readonly mendable: boolean;
}

/** Without making a backup. @throws LifeboatError DB_CONNECT, DB_LOST */
export async function findRoute(ports: BaseBackupPorts, ready: BasePreflight): Promise<BackupRoute> {
  const { sender, ...route } = await chooseReader(ports, ready);
  await sender?.close();
  return route;
}

/**
 * Lifeboat reads the files itself where they are this host's: the server then has nothing to do but to tell where the backup begins
 * and ends. Everywhere else, and of what changed alone, PostgreSQL sends them (BASE_BACKUP).
 */
export async function openSender(ports: BaseBackupPorts, ready: BasePreflight): Promise<BackupSender> {
  const { sender, detail, mendable } = await chooseReader(ports, ready);
  if (sender) {
    ports.log.info(`Reading the files in ${detail}`);
    return sender;
  }
  const line = `PostgreSQL sends the files: ${detail}`;
  if (mendable) ports.log.warn(line);
  else ports.log.info(line);
  return await ports.server.replicate();
}

async function chooseReader(
  ports: BaseBackupPorts,
  { facts, increment }: BasePreflight,
): Promise<BackupRoute & { readonly sender: BackupSender | undefined }> {
  if (increment.type === 'incremental') {
    const detail = 'only it knows what changed';
    return { sender: undefined, reader: 'postgresql', detail, mendable: false };
  }
  const opened = await ports.files.open(facts);
  if ('sender' in opened)
    return { sender: opened.sender, reader: 'lifeboat', detail: opened.folder, mendable: false };
  const { reason: detail, mendable } = opened;
  return { sender: undefined, reader: 'postgresql', detail, mendable };
}

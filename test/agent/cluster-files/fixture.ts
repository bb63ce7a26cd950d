import { readFileSync } from 'node:fs';
import { openClusterFiles } from '../../../scripts/agent/cluster-files/cluster-files.ts';
import { TarReader } from '../../../scripts/agent/data-path/tar/tar-reader.ts';
import type { BackupSender, BaseServerFacts, OpenedFiles } from '../../../scripts/agent/ports/base-backup.ts';
import { openBaseBackupServer } from '../../../scripts/agent/postgres/base-backup-server.ts';
import type { DatabaseSettings } from '../../../scripts/agent/settings.ts';
import type { PostgresServer } from '../../postgres-server.ts';
import { settingsOf, type StoredBackup } from '../replication/fixture.ts';

const NEVER = new AbortController().signal;

export async function factsOf(settings: DatabaseSettings): Promise<BaseServerFacts> {
  return await openBaseBackupServer(settings, {}, NEVER).inspect();
}

interface OpenChoices {
  readonly settings?: Partial<DatabaseSettings>;
  readonly facts?: Partial<BaseServerFacts>;
  readonly use?: 'auto' | 'never';
  readonly interrupted?: AbortSignal;
}

export async function openFiles(server: PostgresServer, choices: OpenChoices = {}): Promise<OpenedFiles> {
  const settings = settingsOf(server, choices.settings);
  const facts = { ...(await factsOf(settings)), ...choices.facts };
  const { use = 'auto', interrupted = NEVER } = choices;
  return await openClusterFiles(settings, {}, { use, interrupted }).open(facts);
}

/** Instead of a sender: why there is none. */
export async function refusalOf(server: PostgresServer, choices: OpenChoices = {}): Promise<string> {
  const opened = await openFiles(server, choices);
  if (!('sender' in opened)) return opened.reason;
  await opened.sender.close();
  return 'none';
}

export async function withFiles<Result>(
  server: PostgresServer,
  use: (sender: BackupSender) => Promise<Result>,
): Promise<Result> {
  const opened = await openFiles(server);
  if (!('sender' in opened)) throw new Error(`The files cannot be read: ${opened.reason}`);
  try {
    return await use(opened.sender);
  } finally {
    await opened.sender.close();
  }
}

export interface StoredMember {
  /** Without the time, and so without the checksum, in hex. */
  readonly header: string;
  readonly body: Buffer;
}

/** By name. */
export function membersOf({ tars }: StoredBackup, oid: number | null = null): Map<string, StoredMember> {
  const members = new Map<string, StoredMember>();
  let name = '';
  let header = '';
  let body: Buffer[] = [];
  for (const event of new TarReader('a stored backup').push(readFileSync(tars.get(oid)!))) {
    if (event.kind === 'member') {
      name = event.member.name;
      const block = Buffer.from(event.header);
      header = block.fill(0, 136, 156).toString('hex');
      body = [];
    }
    if (event.kind === 'data') body.push(Buffer.from(event.bytes));
    if (event.kind === 'member-end') members.set(name, { header, body: Buffer.concat(body) });
  }
  return members;
}

import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import path from 'node:path';
import type { PostgresServer } from '../set-up/postgres-server.ts';
import { databaseBytes } from './database.ts';

const PACKAGE = path.resolve(import.meta.dirname, '../../package.json');

/** What the numbers were measured on and with; nothing that names the machine itself. */
export async function describeMachine(postgres: PostgresServer): Promise<string[]> {
  const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string };
  const server = await postgres.psql('postgres', 'SHOW server_version');
  const bytes = await databaseBytes(postgres);
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  return [
    `- ${new Date().toISOString().slice(0, 10)}: ${availableParallelism()} cores (${model}), ${gigabytes(totalmem())} GB of memory, ${type()} ${release()}`,
    `- Lifeboat ${version} on Node ${process.versions.node}, PostgreSQL ${server.split(' ')[0]}`,
    `- database of ${gigabytes(bytes)} GB on disk, indexes included`,
  ];
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}

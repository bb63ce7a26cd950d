import { LifeboatError } from '../../../lib/domain/errors.ts';
import { BACKEND, message } from './protocol.ts';
import type { Session } from './session.ts';

const PIECE = 64 * 1024;
/**
 * Tells the server on which backup the next one is to build
 * (https://www.postgresql.org/docs/17/protocol-replication.html, UPLOAD_MANIFEST); it keeps the manifest for this connection.
 * @throws LifeboatError DB_QUERY for what is no manifest of this cluster, or the iterable's own error
 */
export async function uploadManifest(session: Session, manifest: AsyncIterable<Buffer>): Promise<void> {
  session.begin('UPLOAD_MANIFEST');
  const { type } = await session.read();
  if (type !== BACKEND.copyInResponse) throw new LifeboatError('BUG', 'UPLOAD_MANIFEST asked for no data');
  await send(session, manifest);
  await session.untilIdle();
}

async function send(session: Session, manifest: AsyncIterable<Buffer>): Promise<void> {
  try {
    for await (const bytes of manifest) {
      for (let start = 0; start < bytes.length; start += PIECE) {
        await session.sendAll(message('d', bytes.subarray(start, start + PIECE)));
      }
    }
  } catch (error) {
    session.abort(error as Error);
    throw error;
  }
  session.send(message('c'));
}

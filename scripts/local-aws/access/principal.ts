import { createHash } from 'node:crypto';
import type { Credentials } from '../s3/signature.ts';

/** Who calls: a role of the templates, or the person at the keyboard. */
export interface Principal {
  /** `<stack>/<logical id>` of the role; `operator` for the person, who may do everything. */
  readonly id: string;
  readonly arn: string;
  readonly credentials: Required<Credentials>;
}

/** Long-lived keys that stand for a role; the same role gets the same ones. */
export function makePrincipal(id: string, arn: string): Principal {
  const hash = createHash('sha256').update(`${id} ${arn}`).digest('base64url');
  const letters = hash.replaceAll(/[-_]/g, '0').toUpperCase();
  return {
    id,
    arn,
    credentials: {
      accessKeyId: `ASIA${letters.slice(0, 16)}`,
      secretAccessKey: `local-secret-${hash}`,
      sessionToken: `local-session-${hash.slice(0, 20)}`,
    },
  };
}

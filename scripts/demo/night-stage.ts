import path from 'node:path';
import { LAMBDA_TEST_ENV } from '../../lib/domain/names.ts';
import { buildCheckout } from '../local-aws/build-checkout.ts';
import { prepareDatabaseHost } from '../local-aws/database-host.ts';
import type { LocalAws } from '../local-aws/local-aws.ts';
import { startLocalAws } from '../local-aws/start.ts';
import { synthesize } from '../local-aws/synthesize.ts';
import type { PostgresServer } from '../set-up/postgres-server.ts';
import { PRODUCTION } from './database.ts';
import type { SlackStandIn } from './slack-stand-in.ts';

export const INSTANCE_ID = 'i-0123456789abcdef0';
const ACCOUNT = { accountId: '111122223333', region: 'eu-west-1' };
const SLACK_PARAMETER = '/lifeboat/slack-webhook-url';

/** The AWS stack on this machine. Its parts are built while the first half plays; it starts when it is asked for. */
export interface NightStage {
  /** @param tell hears of everything that happens, as it happens */
  start(tell: (who: string, what: string) => void): Promise<LocalAws>;
  close(): Promise<void>;
}

interface Ground {
  readonly folder: string;
  readonly postgres: PostgresServer;
  readonly slack: SlackStandIn;
}

export function prepareNightStage(ground: Ground): NightStage {
  const abandon = new AbortController();
  const assets = buildCheckout(path.join(ground.folder, 'dist'), abandon.signal);
  // Whoever starts the stage hears of it; if nobody does, nobody needs it.
  assets.catch(() => undefined);
  let running: Promise<LocalAws> | undefined;
  return {
    start: async (tell) => {
      running = deploy(ground, await assets, tell);
      return await running;
    },
    close: async () => {
      abandon.abort();
      await assets.catch(() => undefined);
      const aws = await running?.catch(() => undefined);
      await aws?.close();
    },
  };
}

async function deploy(
  { folder, postgres, slack }: Ground,
  assets: Awaited<ReturnType<typeof buildCheckout>>,
  tell: (who: string, what: string) => void,
): Promise<LocalAws> {
  const host = prepareDatabaseHost(path.join(folder, 'aws'), INSTANCE_ID);
  const cdkOut = path.join(folder, 'cdk.out');
  const config = {
    notifications: { emails: ['ops@example.com'], slackParameter: SLACK_PARAMETER },
    series: [
      {
        host: { instanceId: INSTANCE_ID },
        database: PRODUCTION,
        dbHost: postgres.socketDir,
        port: postgres.port,
        user: host.osUser,
        osUser: host.osUser,
        pgBinDir: postgres.binDir,
        backupDir: host.backupDir,
      },
    ],
  };
  await synthesize({ config, assets, cdkOut, account: ACCOUNT });
  return await startLocalAws({
    account: ACCOUNT,
    cdkOut,
    folder: path.join(folder, 'aws'),
    hosts: [host.specification],
    parameters: [
      { name: SLACK_PARAMETER, type: 'SecureString', value: slack.webhookUrl, key: 'Notifications' },
    ],
    functionEnvironment: { [LAMBDA_TEST_ENV.slackOrigin]: new URL(slack.webhookUrl).origin },
    tell,
  });
}

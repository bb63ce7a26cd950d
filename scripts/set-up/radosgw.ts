import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdir, mkdtemp, open, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cephConfig } from './ceph-config.ts';
import { freePort } from './free-port.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

/**
 * Ceph's radosgw 16 (Debian), a real S3 server, on loopback in a temporary folder: one monitor, one OSD on a sparse file,
 * one gateway. No copies, no manager: for tests only. It takes about 15 s and 300 MiB of memory to start.
 */
export interface RadosGateway {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Ends exactly the processes that were started, then removes the folder. */
  close(): Promise<void>;
}

const PROGRAMS = ['radosgw', 'radosgw-admin', 'ceph', 'ceph-mon', 'ceph-osd', 'ceph-authtool', 'monmaptool'];
const START_TIMEOUT_MS = 240_000;
const STOP_TIMEOUT_MS = 10_000;
const STORAGE_CLASSES = ['STANDARD_IA'];

/**
 * Of util-linux: the kernel ends the daemon when we die, however we die. Not by TERM: a gateway that has just lost its OSD
 * never gets to its end.
 */
const DYING_WITH_US = { program: 'setpriv', args: ['--pdeathsig', 'KILL'] } as const;

const run = promisify(execFile);

/** Whether every program that startRadosGateway runs is on the PATH. */
export function isRadosGatewayInstalled(): boolean {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return PROGRAMS.every((program) => folders.some((folder) => isExecutable(join(folder, program))));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export async function startRadosGateway(): Promise<RadosGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'lifeboat-radosgw-'));
  const cluster = new Cluster(folder);
  try {
    return await cluster.start();
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

class Cluster {
  readonly #folder: string;
  /** Removes the folder, even after kill -9. */
  readonly #watchdog: Watchdog;
  readonly #children: ChildProcess[] = [];
  readonly #environment: NodeJS.ProcessEnv;
  readonly #credentials = {
    accessKeyId: randomBytes(10).toString('hex'),
    secretAccessKey: randomBytes(20).toString('hex'),
  };

  constructor(folder: string) {
    this.#folder = folder;
    this.#watchdog = startWatchdog(folder);
    this.#environment = { ...process.env, CEPH_CONF: join(folder, 'ceph.conf') };
  }

  async start(): Promise<RadosGateway> {
    const [port, monitorPort, messengerPort] = (await freePorts(3)) as [number, number, number];
    const endpoint = `http://127.0.0.1:${port}`;
    const clusterId = randomUUID();
    for (const name of ['mon', 'osd', 'run', 'rgw']) await mkdir(join(this.#folder, name));
    await writeFile(
      join(this.#folder, 'ceph.conf'),
      cephConfig({ folder: this.#folder, clusterId, port, monitorPort, messengerPort }),
    );
    await this.#makeMonitor(clusterId, `[v2:127.0.0.1:${messengerPort},v1:127.0.0.1:${monitorPort}]`);
    await this.#launch('ceph-mon', ['-f', '-i', 'a']);
    await this.#until('the monitor', () => this.#run('ceph', ['mon', 'stat', '--connect-timeout', '10']));
    await this.#makeStorage();
    await this.#launch('ceph-osd', ['-f', '-i', '0']);
    await this.#until('the storage', () => this.#storageIsUp());
    await this.#makeUser();
    await this.#launch('radosgw', ['-f', '-n', 'client.rgw']);
    await this.#until('the gateway', () => fetch(endpoint));
    return { endpoint, region: 'us-east-1', credentials: this.#credentials, close: () => this.stop() };
  }

  async stop(): Promise<void> {
    for (const child of this.#children.toReversed()) await end(child);
    await this.#watchdog.end();
  }

  /** One keyring holds every key: radosgw 16 cannot log in where authentication is off. */
  async #makeMonitor(clusterId: string, address: string): Promise<void> {
    const keyring = join(this.#folder, 'keyring');
    const map = join(this.#folder, 'monmap');
    await this.#run('monmaptool', ['--create', '--fsid', clusterId, '--addv', 'a', address, map]);
    await this.#run('ceph-authtool', ['-C', keyring]);
    for (const [name, ...grants] of KEYS) {
      const caps = grants.flatMap((grant) => ['--cap', ...grant]);
      await this.#run('ceph-authtool', [keyring, '--gen-key', '-n', name, ...caps]);
    }
    await this.#run('ceph-mon', ['-i', 'a', '--mkfs', '--monmap', map, '--keyring', keyring]);
  }

  async #makeStorage(): Promise<void> {
    const id = randomUUID();
    await this.#run('ceph', ['osd', 'new', id]);
    await this.#run('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', id]);
  }

  async #storageIsUp(): Promise<void> {
    const { stdout } = await this.#run('ceph', ['osd', 'stat', '--connect-timeout', '10']);
    if (!stdout.includes('1 up')) throw new Error(stdout);
  }

  async #makeUser(): Promise<void> {
    const { accessKeyId, secretAccessKey } = this.#credentials;
    await this.#administer('user', 'create', [
      '--uid=test',
      '--display-name=test',
      `--access-key=${accessKeyId}`,
      `--secret-key=${secretAccessKey}`,
    ]);
    for (const name of STORAGE_CLASSES) {
      const placement = ['--placement-id=default-placement', `--storage-class=${name}`];
      await this.#administer('zonegroup', 'placement', ['add', '--rgw-zonegroup=default', ...placement]);
      const pool = '--data-pool=default.rgw.buckets.data';
      await this.#administer('zone', 'placement', ['add', '--rgw-zone=default', ...placement, pool]);
    }
  }

  async #administer(...[topic, verb, rest]: [string, string, string[]]): Promise<void> {
    await this.#run('radosgw-admin', ['-n', 'client.rgw', '--admin-socket=', topic, verb, ...rest]);
  }

  async #run(program: string, args: string[]): Promise<{ stdout: string }> {
    return await run(program, args, { env: this.#environment, timeout: START_TIMEOUT_MS });
  }

  async #launch(program: string, args: string[]): Promise<void> {
    const output = await open(join(this.#folder, `${program}.out`), 'w');
    const child = spawn(DYING_WITH_US.program, [...DYING_WITH_US.args, program, ...args], {
      env: this.#environment,
      stdio: ['ignore', output.fd, output.fd],
    });
    this.#children.push(child);
    await once(child, 'spawn');
    await output.close();
  }

  async #until(what: string, probe: () => Promise<unknown>): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      try {
        await probe();
        return;
      } catch (error) {
        if (Date.now() > deadline) throw new Error(`radosgw: ${what} did not come up`, { cause: error });
        await sleep(200);
      }
    }
  }
}

type Grant = [daemon: string, rights: string];
const KEYS: readonly [string, ...Grant[]][] = [
  ['mon.', ['mon', 'allow *']],
  ['client.admin', ['mon', 'allow *'], ['osd', 'allow *'], ['mgr', 'allow *']],
  ['client.rgw', ['mon', 'allow rw'], ['osd', 'allow rwx']],
  ['osd.0', ['mon', 'allow profile osd'], ['osd', 'allow *']],
];

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await gone;
  clearTimeout(timer);
}

/** No two are the same. */
async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fillScript } from '../../../lib/infra/operations/run-documents.ts';

const SCRIPT = 'lib/infra/documents/run-agent.sh';
const FIND_SCRIPT = 'lib/infra/documents/find-agent.sh';
export const VERSION = '0.1.0';
export const RUN_ID = '20260117T020000Z-3f9a0c1b2d4e';
export const REQUEST = Buffer.from(`{"schemaVersion":1,"runId":"${RUN_ID}","operation":"backup"}`).toString(
  'base64url',
);

/** An agent that says what it was given, and then does what STAND_IN tells it to. */
const STAND_IN_AGENT = `#!/bin/bash
if [[ $1 == --version ]]; then echo stand-in; exit "\${STAND_IN_VERSION_STATUS:-0}"; fi
if [[ -n \${STAND_IN_LOG:-} ]]; then
  { echo "arguments=$*"; echo "HOME=$HOME"; echo "AWS_REGION=$AWS_REGION"; echo "cwd=$PWD"; echo "umask=$(umask)"; echo "me=$0"; } >>"$STAND_IN_LOG"
fi
eval "\${STAND_IN:-exit 0}"
`;

export interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
  readonly seconds: number;
}

export interface Start {
  /** What the agent does: a line of bash. */
  readonly does?: string;
  readonly request?: string;
  readonly runSeconds?: number;
  /** What it has after the warning. */
  readonly killAfterSeconds?: number;
  readonly environment?: Record<string, string>;
  /** Without: nothing was downloaded. */
  readonly download?: boolean;
  /** Text of the tarballs instead of an agent. */
  readonly tarball?: Buffer;
  /** Of the version; another one has another tarball too. */
  readonly version?: string;
}

/** A host's folders, and its SSM agent as far as this script meets it. */
export class AgentHost {
  readonly folder = mkdtempSync(join(tmpdir(), 'lifeboat-host-'));
  readonly root = join(this.folder, 'opt', 'lifeboat');
  readonly log = join(this.folder, 'agent.log');
  readonly tarballs = new Map<string, Buffer>();
  #runs = 0;

  constructor() {
    chmodSync(this.folder, 0o755);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Where this version goes, by its tarball's hash. */
  installed(version = VERSION): string {
    return join(this.root, `${version}-${sha256(this.tarballOf(version)).slice(0, 12)}`);
  }

  tarballOf(version: string): Buffer {
    const known = this.tarballs.get(version);
    if (known) return known;
    const made = makeTarball(this.folder, version);
    this.tarballs.set(version, made);
    return made;
  }

  async run(start: Start = {}): Promise<Ended> {
    return await this.begin(start).ended;
  }

  /** As the SSM agent starts a script: `sh -c FILE`, a process group of its own, little in the environment, no input. */
  begin({
    does = 'exit 0',
    request = REQUEST,
    runSeconds = 600,
    killAfterSeconds = 60,
    environment = {},
    download = true,
    ...rest
  }: Start): { child: ChildProcess; ended: Promise<Ended> } {
    const version = rest.version ?? VERSION;
    const tarball = this.tarballOf(version);
    this.#runs += 1;
    const command = join(this.folder, `command-${this.#runs}`);
    const downloads = join(command, 'downloads');
    mkdirSync(downloads, { recursive: true, mode: 0o700 });
    if (download)
      for (const architecture of ['x64', 'arm64'])
        writeFileSync(join(downloads, `lifeboat-agent-${architecture}.tar.gz`), rest.tarball ?? tarball, {
          mode: 0o700,
        });
    const script = join(command, '_script.sh');
    writeFileSync(
      script,
      scriptFor({ version, sha256: sha256(tarball), runSeconds, killAfterSeconds, request }),
      {
        mode: 0o700,
      },
    );
    const started = performance.now();
    const child = spawn('/bin/sh', ['-c', script], {
      cwd: downloads,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        LIFEBOAT_INSTALL_ROOT: this.root,
        STAND_IN_LOG: this.log,
        STAND_IN: does,
        ...environment,
      },
    });
    const [out, err] = [collect(child.stdout), collect(child.stderr)];
    const ended = new Promise<Ended>((resolve, reject) => {
      child.once('error', reject);
      // "close", not "exit": SSM too waits until nobody holds the pipes any more.
      child.once('close', (status, signal) =>
        resolve({ status, signal, out: out(), err: err(), seconds: (performance.now() - started) / 1000 }),
      );
    });
    return { child, ended };
  }

  /** The status of the step before the downloads. */
  find(version = VERSION, environment: Record<string, string> = {}): number | null {
    const script = join(this.folder, '_find.sh');
    const hash = sha256(this.tarballOf(version));
    const values = { VERSION: version, SHA256_X64: hash, SHA256_ARM64: hash };
    writeFileSync(script, fillScript(readFileSync(FIND_SCRIPT, 'utf8'), values), { mode: 0o700 });
    return spawnSync('/bin/sh', ['-c', script], {
      cwd: '/usr/bin',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LIFEBOAT_INSTALL_ROOT: this.root, ...environment },
    }).status;
  }

  agentLog(): string {
    return readFileSync(this.log, 'utf8');
  }
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function scriptFor(values: {
  version: string;
  sha256: string;
  runSeconds: number;
  killAfterSeconds: number;
  request: string;
}): string {
  const filled = fillScript(readFileSync(SCRIPT, 'utf8'), {
    VERSION: values.version,
    SHA256_X64: values.sha256,
    SHA256_ARM64: values.sha256,
    RUN_SECONDS: String(values.runSeconds),
    KILL_AFTER_SECONDS: String(values.killAfterSeconds),
    ONLY: 'backup',
    PARAMETER: 'Request',
    REGION: 'eu-central-1',
  });
  // As SSM replaces it: text for text.
  return filled.split('{{ Request }}').join(values.request);
}

/** As scripts/build/archive.mjs packs it; runtime/node is a program that can be started, to be found in use. */
function makeTarball(folder: string, version: string): Buffer {
  const top = join(folder, `build-${version}`, 'linux-x64');
  for (const each of ['bin', 'bundle', 'runtime']) mkdirSync(join(top, each), { recursive: true });
  writeFileSync(join(top, 'bin', 'lifeboat'), STAND_IN_AGENT, { mode: 0o755 });
  writeFileSync(join(top, 'bundle', 'main.mjs'), `// ${version}\n`);
  writeFileSync(join(top, 'VERSION'), `${version}\n`);
  copyFileSync('/bin/sleep', join(top, 'runtime', 'node'));
  const archive = join(folder, `build-${version}.tar.gz`);
  execFileSync('tar', ['-czf', archive, '-C', join(top, '..'), 'linux-x64']);
  return readFileSync(archive);
}

import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { bundleAgent } from './bundle.mjs';
import { ROOT, readProject } from './project.mjs';
import { findCrc32c, findRuntime } from './runtime.mjs';
import { stripBinary } from './strip.mjs';

export const ARCHITECTURES = ['x64', 'arm64'];

/** Its package has no text of it. */
const CRC32C_NOTICE = `crc32c.node is @node-rs/crc32, https://github.com/napi-rs/node-rs
MIT License, Copyright (c) 2020-present LongYinan
`;

/**
 * Builds `<out>/linux-<architecture>/`: bin/ (launchers), runtime/ (Node), bundle/, VERSION. The folder appears whole or
 * not at all, so that a launcher which looks for it never starts half of an agent.
 * @param {{ architecture: string, out: string, entry: string }} options
 * @returns {Promise<{ folder: string, notes: string[] }>}
 */
export async function buildAgent({ architecture, out, entry }) {
  const folder = join(out, `linux-${architecture}`);
  const unfinished = `${folder}.${process.pid}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  try {
    await bundleAgent({ entry, folder: join(unfinished, 'bundle') });
    const note = installRuntime(architecture, join(unfinished, 'runtime'));
    installLaunchers(join(unfinished, 'bin'));
    writeFileSync(join(unfinished, 'VERSION'), `${readProject().version}\n`);
    replaceFolder(unfinished, folder);
    return { folder, notes: [note] };
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

function installRuntime(architecture, folder) {
  const runtime = findRuntime(architecture);
  mkdirSync(folder, { recursive: true });
  const node = join(folder, 'node');
  const note = stripBinary(runtime.node, node, architecture);
  chmodSync(node, 0o755);
  copyFileSync(runtime.license, join(folder, 'LICENSE'));
  copyFileSync(findCrc32c(architecture), join(folder, 'crc32c.node'));
  writeFileSync(join(folder, 'NOTICE'), CRC32C_NOTICE);
  return note;
}

function installLaunchers(folder) {
  mkdirSync(folder, { recursive: true });
  const launchers = [
    [join(import.meta.dirname, 'launcher.sh'), 'lifeboat'],
    [join(ROOT, 'scripts', 'backup-db.sh'), 'backup-db.sh'],
    [join(ROOT, 'scripts', 'restore-db.sh'), 'restore-db.sh'],
  ];
  for (const [from, name] of launchers) {
    cpSync(from, join(folder, name));
    chmodSync(join(folder, name), 0o755);
  }
}

function replaceFolder(from, to) {
  const old = `${to}.${process.pid}.old`;
  if (existsSync(to)) renameSync(to, old);
  renameSync(from, to);
  rmSync(old, { recursive: true, force: true });
}

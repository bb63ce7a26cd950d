import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ConnectionEnvironment } from '../../set-up/psql.ts';

export const ACCOUNTS = 2000;

/**
 * Every transaction leaves a mark of itself, and some do what a recovery could get wrong: files that come and go, large objects,
 * rows in two tablespaces, unlogged tables, subtransactions, two-phase commit.
 */
export const TABLES = `
  CREATE TABLE marks (xid xid8 NOT NULL DEFAULT pg_current_xact_id(), kind text NOT NULL, n bigint NOT NULL,
                      source int, target int);
  CREATE TABLE accounts (id int PRIMARY KEY USING INDEX TABLESPACE one, balance bigint NOT NULL) TABLESPACE two;
  INSERT INTO accounts SELECT id, 0 FROM generate_series(1, ${ACCOUNTS}) AS id;
  CREATE TABLE elsewhere (xid xid8 NOT NULL, n bigint NOT NULL) TABLESPACE one;
  CREATE INDEX ON elsewhere (n) TABLESPACE two;
  CREATE UNLOGGED TABLE volatile (n bigint) TABLESPACE two;
  CREATE INDEX ON volatile (n);
  INSERT INTO volatile VALUES (0);
  CREATE EXTENSION amcheck;
  CREATE FUNCTION made_tables() RETURNS jsonb LANGUAGE plpgsql AS $$
  DECLARE name text; rows bigint; found jsonb := '{}';
  BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^made_[0-9]+$' LOOP
      EXECUTE format('SELECT count(*) FROM %I', name) INTO rows;
      found := found || jsonb_build_object(name, rows);
    END LOOP;
    RETURN found;
  END $$;`;

const MARK = (kind: string): string => `INSERT INTO marks (kind, n) VALUES ('${kind}', :n);`;
const NUMBER = '\\set n random(1, 2000000000)';
const FATE = '\\set fate random(1, 10)';
/** What a large object holds is told by its number. */
const LARGE_OBJECT = `lo_from_bytea(:n, convert_to(repeat('n :n ', 700), 'UTF8'))`;

/** Scripts of pgbench by name, with how often each is chosen. */
const SCRIPTS: Readonly<Record<string, { readonly weight: number; readonly text: string }>> = {
  transfer: {
    weight: 40,
    text: `${NUMBER}
\\set from random(1, ${ACCOUNTS - 1})
\\set to random(:from + 1, ${ACCOUNTS})
\\set amount random(-100, 100)
BEGIN;
INSERT INTO marks (kind, n, source, target) VALUES ('transfer', :amount, :from, :to);
UPDATE accounts SET balance = balance - :amount WHERE id = :from;
UPDATE accounts SET balance = balance + :amount WHERE id = :to;
INSERT INTO elsewhere VALUES (pg_current_xact_id(), :amount);
INSERT INTO volatile VALUES (:n);
COMMIT;`,
  },
  subtransactions: {
    weight: 6,
    text: `${NUMBER}
BEGIN;
${MARK('outer')}
SAVEPOINT one;
${MARK('undone')}
ROLLBACK TO SAVEPOINT one;
SAVEPOINT two;
${MARK('inner')}
RELEASE SAVEPOINT two;
COMMIT;`,
  },
  rollback: { weight: 4, text: `${NUMBER}\nBEGIN;\n${MARK('undone')}\nROLLBACK;` },
  relations: {
    weight: 3,
    text: `${NUMBER}
${FATE}
BEGIN;
CREATE TABLE made_:n AS SELECT n FROM generate_series(1, 500) AS n;
${MARK('create')}
COMMIT;
\\if :fate <= 3
BEGIN;
TRUNCATE made_:n;
${MARK('truncate')}
COMMIT;
\\elif :fate <= 7
BEGIN;
DROP TABLE made_:n;
${MARK('drop')}
COMMIT;
\\endif`,
  },
  objects: {
    weight: 3,
    text: `${NUMBER}
${FATE}
BEGIN;
SELECT ${LARGE_OBJECT};
${MARK('object')}
COMMIT;
\\if :fate <= 3
BEGIN;
SELECT lo_put(:n, 1000, 'written over');
${MARK('object-changed')}
COMMIT;
\\elif :fate <= 6
BEGIN;
SELECT lo_unlink(:n);
${MARK('object-dropped')}
COMMIT;
\\endif`,
  },
  prepared: {
    weight: 4,
    text: `${NUMBER}
${FATE}
BEGIN;
${MARK('prepared')}
PREPARE TRANSACTION 'p_:n';
\\sleep 10 ms
\\if :fate <= 6
COMMIT PREPARED 'p_:n';
\\elif :fate <= 9
ROLLBACK PREPARED 'p_:n';
\\endif`,
  },
};

export const LOAD_SETTINGS = { max_prepared_transactions: '500', track_commit_timestamp: 'on' } as const;

export interface LoadRequest {
  /** pgbench's folder. */
  readonly binDir: string;
  readonly server: ConnectionEnvironment;
  readonly folder: string;
  readonly clients: number;
  readonly seed: number;
}

/** pgbench, until it is told to stop. */
export class Load {
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;
  #complaints = '';

  constructor({ binDir, server, folder, clients, seed }: LoadRequest) {
    mkdirSync(folder, { recursive: true });
    const files = Object.entries(SCRIPTS).flatMap(([name, { weight, text }]) => {
      const file = path.join(folder, `${name}.sql`);
      writeFileSync(file, `${text}\n`);
      return ['-f', `${file}@${weight}`];
    });
    const size = ['-c', String(clients), '-j', '1', '-T', '86400', `--random-seed=${seed}`];
    this.#child = spawn(path.join(binDir, 'pgbench'), ['-n', ...size, ...files], {
      env: {
        PGHOST: server.DB_HOST,
        PGPORT: server.DB_PORT,
        PGUSER: server.DB_USER,
        PGPASSWORD: server.DB_PASSWORD,
        PGDATABASE: 'postgres',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#complaints += text));
    this.#gone = once(this.#child, 'exit');
  }

  /** What made a client give up, which makes the load less than it should be; '' when nothing did. */
  get complaints(): string {
    return this.#complaints
      .split('\n')
      .filter((line) => /error|aborted/.test(line))
      .join('\n');
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#gone;
  }
}

import type { DumpEntry } from '../../../lib/domain/restore/dump-entries.ts';
import { parseTableList } from '../../../lib/domain/restore/table-names.ts';
import { planTables, type PresentTable } from '../../../lib/domain/restore/table-plan.ts';
import { selectTables } from '../../../lib/domain/restore/table-selection.ts';

describe('parseTableList', () => {
  it('takes names with and without schema, quoted as in SQL', () => {
    expect(parseTableList('users, billing.invoices ,"Order, ""Items"""."a.b"')).toEqual([
      { schema: undefined, name: 'users', text: 'users' },
      { schema: 'billing', name: 'invoices', text: 'billing.invoices' },
      { schema: 'Order, "Items"', name: 'a.b', text: '"Order, ""Items"""."a.b"' },
    ]);
  });

  it.each(['', ' ', 'a b', 'a,,b', '"open', 'a.b.c'])('refuses %j', (list) => {
    expect(() => parseTableList(list)).toThrow(/is no list of tables/);
  });
});

const STATEMENTS: [type: string, statement: string][] = [
  ['FUNCTION', 'CREATE FUNCTION public.touch() RETURNS trigger …'],
  ['TABLE', 'CREATE TABLE public.users (\n id bigint)'],
  ['COMMENT', "COMMENT ON TABLE public.users IS 'x'"],
  ['SEQUENCE', 'CREATE SEQUENCE public.users_id_seq START'],
  ['SEQUENCE OWNED BY', 'ALTER SEQUENCE public.users_id_seq OWNED BY public.users.id'],
  ['TABLE', 'CREATE TABLE public."Order Items" (\n id int)'],
  [
    'SEQUENCE',
    'ALTER TABLE public."Order Items" ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (\n SEQUENCE NAME public."Order Items_id_seq"\n',
  ],
  ['TABLE', 'CREATE TABLE public.events (\n at date)\nPARTITION BY RANGE (at)'],
  ['TABLE', 'CREATE TABLE old.events_2025 (\n at date)'],
  ['TABLE', 'CREATE UNLOGGED TABLE old.users (\n id int)'],
  ['VIEW', 'CREATE VIEW public.v AS SELECT 1'],
  ['TABLE ATTACH', 'ALTER TABLE ONLY public.events ATTACH PARTITION old.events_2025 FOR VALUES …'],
  [
    'DEFAULT',
    "ALTER TABLE ONLY public.users ALTER COLUMN id SET DEFAULT nextval('public.users_id_seq'::regclass)",
  ],
  ['TABLE DATA', 'COPY public.users (id) FROM stdin'],
  ['TABLE DATA', 'COPY public."Order Items" (id) FROM stdin'],
  ['TABLE DATA', 'COPY old.events_2025 (at) FROM stdin'],
  ['TABLE DATA', 'COPY old.users (id) FROM stdin'],
  ['SEQUENCE SET', "SELECT pg_catalog.setval('public.users_id_seq', 7, true)"],
  ['SEQUENCE SET', `SELECT pg_catalog.setval('public."Order Items_id_seq"', 7, true)`],
  ['CONSTRAINT', 'ALTER TABLE ONLY public.users\n    ADD CONSTRAINT users_pkey PRIMARY KEY (id)'],
  ['CONSTRAINT', 'ALTER TABLE ONLY public.events\n    ADD CONSTRAINT events_pkey PRIMARY KEY (at)'],
  ['CONSTRAINT', 'ALTER TABLE ONLY old.events_2025\n    ADD CONSTRAINT events_2025_pkey PRIMARY KEY (at)'],
  ['INDEX', 'CREATE UNIQUE INDEX "users name" ON public.users USING btree (name)'],
  ['INDEX', 'CREATE INDEX events_at ON ONLY public.events USING btree (at)'],
  ['INDEX', 'CREATE INDEX e25_at ON old.events_2025 USING btree (at)'],
  ['INDEX ATTACH', 'ALTER INDEX public.events_at ATTACH PARTITION old.e25_at'],
  ['INDEX ATTACH', 'ALTER INDEX public.events_pkey ATTACH PARTITION old.events_2025_pkey'],
  ['TRIGGER', 'CREATE TRIGGER "a b" BEFORE INSERT ON public.users FOR EACH ROW …'],
  ['RULE', 'CREATE RULE r AS\n    ON INSERT TO public.users DO NOTHING'],
  ['POLICY', 'CREATE POLICY p ON public.users USING (true)'],
  ['ROW SECURITY', 'ALTER TABLE public.users ENABLE ROW LEVEL SECURITY'],
  [
    'FK CONSTRAINT',
    'ALTER TABLE ONLY public."Order Items"\n    ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES public.users(id)',
  ],
  ['ACL', 'GRANT SELECT ON TABLE public.users TO x'],
  ['ACL', 'REVOKE ALL ON SEQUENCE public.users_id_seq FROM x'],
  ['ACL', 'GRANT SELECT ON TABLE public.v TO x'],
  ['COMMENT', 'COMMENT ON INDEX public."users name" IS \'x\''],
  ['COMMENT', "COMMENT ON CONSTRAINT users_pkey ON public.users IS 'x'"],
];
const ENTRIES: DumpEntry[] = STATEMENTS.map(([type, statement], id) => ({ id, type, statement }));

function selected(
  list: string,
  present: string[] = [],
): { statements: string[]; leftOut: readonly string[] } {
  const { entries, leftOutKeys } = selectTables(ENTRIES, parseTableList(list), new Set(present));
  return { statements: entries.map((id) => STATEMENTS[id]![1].split('\n')[0]!), leftOut: leftOutKeys };
}

describe('selectTables', () => {
  it('takes all that belongs to a table, and nothing of another', () => {
    expect(selected('public.users').statements).toEqual([
      'CREATE TABLE public.users (',
      "COMMENT ON TABLE public.users IS 'x'",
      'CREATE SEQUENCE public.users_id_seq START',
      'ALTER SEQUENCE public.users_id_seq OWNED BY public.users.id',
      "ALTER TABLE ONLY public.users ALTER COLUMN id SET DEFAULT nextval('public.users_id_seq'::regclass)",
      'COPY public.users (id) FROM stdin',
      "SELECT pg_catalog.setval('public.users_id_seq', 7, true)",
      'ALTER TABLE ONLY public.users',
      'CREATE UNIQUE INDEX "users name" ON public.users USING btree (name)',
      'CREATE TRIGGER "a b" BEFORE INSERT ON public.users FOR EACH ROW …',
      'CREATE RULE r AS',
      'CREATE POLICY p ON public.users USING (true)',
      'ALTER TABLE public.users ENABLE ROW LEVEL SECURITY',
      'GRANT SELECT ON TABLE public.users TO x',
      'REVOKE ALL ON SEQUENCE public.users_id_seq FROM x',
      'COMMENT ON INDEX public."users name" IS \'x\'',
      "COMMENT ON CONSTRAINT users_pkey ON public.users IS 'x'",
    ]);
  });

  it('takes a partitioned table with its partitions, and their indexes attached', () => {
    expect(selected('events').statements).toEqual([
      'CREATE TABLE public.events (',
      'CREATE TABLE old.events_2025 (',
      'ALTER TABLE ONLY public.events ATTACH PARTITION old.events_2025 FOR VALUES …',
      'COPY old.events_2025 (at) FROM stdin',
      'ALTER TABLE ONLY public.events',
      'ALTER TABLE ONLY old.events_2025',
      'CREATE INDEX events_at ON ONLY public.events USING btree (at)',
      'CREATE INDEX e25_at ON old.events_2025 USING btree (at)',
      'ALTER INDEX public.events_at ATTACH PARTITION old.e25_at',
      'ALTER INDEX public.events_pkey ATTACH PARTITION old.events_2025_pkey',
    ]);
  });

  it('takes a partition alone as a table of its own', () => {
    expect(selected('events_2025').statements.join()).not.toContain('ATTACH');
  });

  it('takes the sequence of an identity column, and leaves out a foreign key that leads nowhere', () => {
    const alone = selected('"Order Items"');
    expect(alone.statements).toContain(`SELECT pg_catalog.setval('public."Order Items_id_seq"', 7, true)`);
    expect(alone.leftOut).toEqual(['public.Order Items → public.users']);
    expect(selected('"Order Items"', ['["public","users"]']).leftOut).toEqual([]);
    expect(selected('"Order Items",public.users').leftOut).toEqual([]);
  });

  it('takes a name in capitals as SQL does, and refuses one that is missing or in several schemas', () => {
    expect(selected('EVENTS').statements).toEqual(selected('events').statements);
    expect(() => selected('nothing')).toThrow(/has no table nothing/);
    expect(() => selected('users')).toThrow(/several tables users, in the schemas public, old/);
    expect(() => selected('v')).toThrow(/has no table v/);
  });
});

describe('planTables', () => {
  const present: PresentTable[] = [
    { schema: 'public', name: 'events', parent: undefined, referredBy: [] },
    {
      schema: 'old',
      name: 'events_2024',
      parent: { schema: 'public', name: 'events' },
      referredBy: [{ schema: 'public', name: 'logs' }],
    },
    { schema: 'public', name: 'other', parent: undefined, referredBy: [] },
  ];
  const selection = { tables: [{ schema: 'public', name: 'events' }], entries: [], leftOutKeys: [] };
  const input = {
    target: 'shop',
    selection,
    present,
    counted: undefined,
    replace: true,
    now: new Date('2026-01-17T02:00:00Z'),
  };

  it('refuses a table that is there, unless it is to be replaced', () => {
    expect(() => planTables({ ...input, replace: false })).toThrow(
      /has these tables already: public\.events, old\.events_2024/,
    );
  });

  it('moves it aside with its partitions, schema by schema, and says who still refers to it', () => {
    const plan = planTables(input);
    expect(plan.before).toEqual([
      'CREATE SCHEMA "before_20260117020000"',
      'CREATE SCHEMA "before_20260117020000_old"',
      'ALTER TABLE "public"."events" SET SCHEMA "before_20260117020000"',
      'ALTER TABLE "old"."events_2024" SET SCHEMA "before_20260117020000_old"',
      'CREATE SCHEMA IF NOT EXISTS "public"',
    ]);
    expect(plan.warnings.at(-1)).toBe(
      'Foreign keys of these tables still refer to the old ones: public.logs.',
    );
  });

  it('counts within the transaction the rows that are known', () => {
    const counted = [{ schema: 'public', name: 'events', kind: 'table', rows: 7 } as const];
    expect(planTables({ ...input, counted }).after).toHaveLength(1);
    expect(planTables({ ...input, counted }).after[0]).toMatch(/^DO '.*IF found <> 7 THEN RAISE EXCEPTION/);
    expect(planTables(input).after).toEqual([]);
  });
});

import { nearNames } from '../../../lib/domain/restore/near-names.ts';
import {
  chooseRecoveredTables,
  requireRecoveredDatabase,
} from '../../../lib/domain/restore/recovered-selection.ts';
import { parseTableList } from '../../../lib/domain/restore/table-names.ts';
import type { PresentTable } from '../../../lib/domain/restore/table-plan.ts';

const table = (schema: string, name: string, parent?: string): PresentTable => ({
  schema,
  name,
  parent: parent === undefined ? undefined : { schema, name: parent },
  referredBy: [],
});

const TABLES = [
  table('billing', 'invoices'),
  table('public', 'events'),
  table('public', 'events_2026', 'events'),
  table('public', 'events_2026_01', 'events_2026'),
  table('public', 'Order Items'),
  table('public', 'users'),
  table('audit', 'users'),
];

const choose = (list: string): string[] =>
  chooseRecoveredTables(parseTableList(list), TABLES).map(({ schema, name }) => `${schema}.${name}`);

describe('What is taken out of a recovered cluster', () => {
  it('is a table with all its partitions', () => {
    expect(choose('events')).toEqual(['public.events', 'public.events_2026', 'public.events_2026_01']);
    expect(choose('"Order Items",INVOICES')).toEqual(['billing.invoices', 'public.Order Items']);
  });

  it('is refused for a table that there is not, with names like it', () => {
    expect(() => choose('public.user')).toThrow(/no table public\.user; it has "public\.users"/);
    expect(() => choose('invoice')).toThrow(/it has "invoices"/);
    expect(() => chooseRecoveredTables(parseTableList('a'), [])).toThrow(/it has none at all/);
  });

  it('is refused for a table that several schemas have', () => {
    expect(() => choose('users')).toThrow(/several tables users, in the schemas "public", "audit"/);
  });

  it('is refused for a database that there is not, with names like it', () => {
    const there = ['app', 'app_staging', 'postgres', 'template1'];
    expect(() => requireRecoveredDatabase('app', there)).not.toThrow();
    expect(() => requireRecoveredDatabase('ap', there)).toThrow(/no database "ap"; it has "app"/);
    expect(() => requireRecoveredDatabase('shop', there)).toThrow(/it has "app", /);
  });
});

describe('Names that somebody may have meant', () => {
  it('come in the order of their likeness, at most five of them', () => {
    expect(nearNames('custmoers', ['orders', 'customers', 'customer'])).toEqual(['customers', 'customer']);
    expect(nearNames('zzz', ['a', 'b', 'c', 'd', 'e', 'f'])).toHaveLength(5);
    expect(nearNames('x', [])).toEqual([]);
  });
});

import {
  chooseDatabaseNames,
  isRestoringMark,
  isRestoringName,
  requireTargetName,
  restoringMark,
} from '../../../lib/domain/restore/database-names.ts';

const NOW = new Date('2026-01-17T02:00:05Z');

describe('chooseDatabaseNames', () => {
  it('adds the time of the restore to the target’s name', () => {
    expect(chooseDatabaseNames('hostmaster_prod', NOW, [])).toEqual({
      restoring: 'hostmaster_prod_restoring_20260117020005',
      before: 'hostmaster_prod_before_20260117020005',
    });
  });

  it('cuts a long target at 63 bytes in all, never the time', () => {
    const { restoring, before } = chooseDatabaseNames('x'.repeat(63), NOW, []);
    expect(restoring).toBe(`${'x'.repeat(38)}_restoring_20260117020005`);
    expect(before).toBe(`${'x'.repeat(41)}_before_20260117020005`);
    expect(restoring).toHaveLength(63);
    expect(before).toHaveLength(63);
  });

  it('cuts between characters, not within one', () => {
    const { restoring } = chooseDatabaseNames(`a${'ü🐘'.repeat(10)}`, NOW, []);
    expect(Buffer.byteLength(restoring)).toBeLessThanOrEqual(63);
    expect(restoring).not.toContain('\uFFFD');
    expect(Buffer.from(restoring).toString()).toBe(restoring);
    expect(restoring).toMatch(/^aü🐘.*_restoring_20260117020005$/u);
  });

  it('moves on by a second while either name is taken', () => {
    const taken = ['db_before_20260117020005', 'db_restoring_20260117020006'];
    expect(chooseDatabaseNames('db', NOW, taken).before).toBe('db_before_20260117020007');
  });
});

describe('what a killed restore left', () => {
  it('is known by its name, also when that was cut', () => {
    for (const target of ['db', 'x'.repeat(63), 'ü'.repeat(31)]) {
      expect(isRestoringName(chooseDatabaseNames(target, NOW, []).restoring, target)).toBe(true);
    }
  });

  it('is not a database of another target, nor one that a person named alike', () => {
    expect(isRestoringName('db2_restoring_20260117020005', 'db')).toBe(false);
    expect(isRestoringName('db_restoring_yesterday', 'db')).toBe(false);
    expect(isRestoringName('db', 'db')).toBe(false);
  });

  it('bears a mark that names its target, whatever characters that has', () => {
    const mark = restoringMark('a"b\\c', 'hostmaster_db_20260117_020000', 'run-1');
    expect(isRestoringMark(mark, 'a"b\\c')).toBe(true);
    expect(isRestoringMark(mark, 'a"b')).toBe(false);
    expect(isRestoringMark(null, 'a')).toBe(false);
    expect(isRestoringMark('lifeboat: restoring things is fun', 'things')).toBe(false);
  });
});

describe('requireTargetName', () => {
  it('takes any name that PostgreSQL keeps whole', () => {
    for (const name of ['db', 'with space', 'quo"te', '$(x)', '..', 'back\\slash', 'ü'.repeat(31)]) {
      expect(requireTargetName(name)).toBe(name);
    }
  });

  it.each([
    ['', /it is empty/],
    ['x'.repeat(64), /64 bytes; PostgreSQL keeps 63/],
    ['ü'.repeat(32), /64 bytes/],
    ['a\0b', /zero byte/],
    ['template0', /new databases are made from it/],
    ['template1', /new databases are made from it/],
  ])('refuses %j', (name, reason) => {
    expect(() => requireTargetName(name)).toThrow(reason);
  });
});

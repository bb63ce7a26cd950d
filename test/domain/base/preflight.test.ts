import { checkBaseStandby, checkReplicationFacts } from '../../../lib/domain/base/preflight.ts';

const READY = {
  walLevel: 'replica',
  maxWalSenders: 10,
  freeWalSenders: 2,
  maxReplicationSlots: 10,
  freeReplicationSlots: 1,
};

describe('The preflight of a base backup', () => {
  it('asks for two WAL senders, a slot and WAL that says enough, and no more', () => {
    expect(checkReplicationFacts(READY)).toEqual([]);
    expect(checkReplicationFacts({ ...READY, walLevel: 'logical' })).toEqual([]);
  });

  it('tells all that is missing at once, each with the statement that mends it', () => {
    const problems = checkReplicationFacts({
      walLevel: 'minimal',
      maxWalSenders: 3,
      freeWalSenders: 1,
      maxReplicationSlots: 4,
      freeReplicationSlots: 0,
    });
    expect(problems.map(({ hint }) => hint)).toEqual([
      expect.stringContaining('ALTER SYSTEM SET wal_level = replica;'),
      expect.stringContaining('ALTER SYSTEM SET max_wal_senders = 5;'),
      expect.stringContaining('ALTER SYSTEM SET max_replication_slots = 5;'),
    ]);
    expect(problems[1]!.message).toContain('1 of 3 are free');
  });

  it('refuses a standby unless it is wanted', () => {
    expect(checkBaseStandby(true, false)).toMatchObject({ code: 'STANDBY_REFUSED' });
    expect(checkBaseStandby(true, true)).toBeUndefined();
    expect(checkBaseStandby(false, false)).toBeUndefined();
  });
});

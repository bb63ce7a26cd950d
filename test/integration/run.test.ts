import { statSync } from 'node:fs';
import { DATABASE, INSTANCE_ID, OS_UID, RunHost, useRunGround } from './run-fixture.ts';

const ground = useRunGround();

describe('A backup that a request asks for', () => {
  it('is made as the series’ user, lies in both places, and has its result in the state bucket', async () => {
    const host = await RunHost.make(ground());
    const request = host.request();
    const end = await host.run(request, { args: ['--only', 'backup'] });
    expect(end).toMatchObject({ status: 0, verdict: { runId: request.runId, succeeded: true, code: null } });
    const result = await host.result(request.runId);
    expect(result).toMatchObject({
      operation: 'backup',
      app: 'hostmaster',
      database: DATABASE,
      instanceId: INSTANCE_ID,
      commandId: 'c0ffee00-0000-4000-8000-000000000001',
      warnings: [],
      outcome: { kind: 'backup', totals: { tables: 1, rows: 1000 } },
      failure: null,
      exitStatus: 0,
    });
    const id = result.outcome?.kind === 'backup' ? result.outcome.id : '';
    expect(end.verdict?.message).toBe(id);
    const names = ['.globals.sql.gz', '.manifest.json', '.sql.gz'].map((suffix) => id + suffix);
    expect(host.files().toSorted()).toEqual(names);
    expect(await host.keys(host.bucket)).toEqual(names.map((name) => `database/${name}`));
    expect(statSync(host.backupDir)).toMatchObject({ uid: OS_UID, mode: 0o40700 });
    expect(end.leftRunning).toEqual([]);
  });
});

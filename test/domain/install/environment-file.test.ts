import { execFileSync } from 'node:child_process';
import {
  chooseVariables,
  parseEnvironmentFile,
  renderEnvironmentFile,
  renderEnvironmentForPeople,
} from '../../../lib/domain/install/environment-file.ts';

const NASTY = {
  DB_NAME: 'hostmaster prod',
  DB_PASSWORD: `p"a'ss\\w$HOME\`id\`%n!#;=\\"  end `,
  S3_PREFIX: 'Datenbank/größe',
  SMTP_URL: 'smtp://u:p@mail/?a=b&c=d',
  EMAIL_TO: 'a@example.com,\n\tb@example.com',
};

describe('the settings file of a scheduled backup', () => {
  it('gives a shell exactly the values that were written', () => {
    const script = `set -a\n${renderEnvironmentFile('hostmaster', NASTY)}\nenv -0`;
    const environment = execFileSync('/bin/sh', ['-c', script], { env: { PATH: '/usr/bin:/bin' } }).toString(
      'utf8',
    );
    const read = Object.fromEntries(
      environment.split('\0').map((line) => line.split(/=([^]*)/, 2) as [string, string]),
    );
    expect(read).toMatchObject(NASTY);
  });

  it('is read back as it was written', () => {
    expect(parseEnvironmentFile(renderEnvironmentFile('hostmaster', NASTY))).toEqual(NASTY);
  });

  it('is understood after somebody edited it by hand', () => {
    const edited = `# mine\nDB_NAME=other  \n export DB_USER='o''k'\n#DB_PORT=1\nDB_HOST="a\\$b"\nEMPTY=\n`;
    expect(parseEnvironmentFile(edited)).toEqual({
      DB_NAME: 'other',
      DB_USER: 'o',
      DB_HOST: 'a$b',
      EMPTY: '',
    });
  });

  it('is shown without its secrets', () => {
    const shown = renderEnvironmentForPeople('hostmaster', {
      ...NASTY,
      AWS_SECRET_ACCESS_KEY: 'x'.repeat(40),
      PGPASSWORD: 'y',
    });
    expect(shown).toContain('DB_NAME="hostmaster prod"');
    for (const name of ['DB_PASSWORD', 'SMTP_URL', 'AWS_SECRET_ACCESS_KEY', 'PGPASSWORD']) {
      expect(shown).toContain(`${name}="(not shown)"`);
    }
    expect(shown).not.toMatch(/xxx|smtp:/);
  });

  it('refuses a value that systemd would drop, without showing it', () => {
    const render = () => renderEnvironmentFile('hostmaster', { DB_PASSWORD: 'a\u0007b' });
    expect(render).toThrow('DB_PASSWORD holds a control character');
  });
});

describe('the variables that a scheduled backup gets', () => {
  it('are Lifeboat’s own, AWS’ and libpq’s, and nothing else of the shell', () => {
    const { variables, warnings } = chooseVariables({
      DB_NAME: 'prod',
      PGSSLMODE: 'require',
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'AKID',
      AWS_SECRET_ACCESS_KEY: 'secret',
      LIFEBOAT_RUN_ID: 'a-run',
      AWS_EXECUTION_ENV: 'x',
      HOME: '/root',
      PATH: '/bin',
      S3_BUCKET: '',
    });
    expect(variables).toEqual({
      AWS_ACCESS_KEY_ID: 'AKID',
      AWS_REGION: 'eu-central-1',
      AWS_SECRET_ACCESS_KEY: 'secret',
      DB_NAME: 'prod',
      PGSSLMODE: 'require',
    });
    expect(warnings).toEqual([]);
  });

  it('leave out keys that will have expired by two in the morning, and say so', () => {
    const { variables, warnings } = chooseVariables({
      AWS_ACCESS_KEY_ID: 'ASIA',
      AWS_SECRET_ACCESS_KEY: 'secret',
      AWS_SESSION_TOKEN: 'token',
      AWS_REGION: 'eu-central-1',
    });
    expect(variables).toEqual({ AWS_REGION: 'eu-central-1' });
    expect(warnings).toEqual([expect.stringContaining('temporary')]);
  });
});

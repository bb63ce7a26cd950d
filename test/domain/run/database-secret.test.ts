import { parseDatabaseSecret } from '../../../lib/domain/run/database-secret.ts';

const ARN = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:hostmaster-AbCdEf';
const parse = (text: string): unknown => parseDatabaseSecret(text, ARN);

describe('A database’s secret', () => {
  it.each(['s3cret', '12345678', '"quoted"', '{not json', 'null', ' spaces '])(
    'is the password itself: %s',
    (text) => {
      expect(parse(text)).toEqual({ password: text, username: undefined });
    },
  );

  it('loses the line feed of the file that it was made from', () => {
    expect(parse('s3cret\n')).toEqual({ password: 's3cret', username: undefined });
  });

  it('may be JSON as RDS writes it', () => {
    const text = JSON.stringify({ engine: 'postgres', username: 'backup', password: 's3cret', port: 5432 });
    expect(parse(text)).toEqual({ password: 's3cret', username: 'backup' });
    expect(parse('{"password":"s3cret"}')).toEqual({ password: 's3cret', username: undefined });
  });

  it.each([
    '',
    '\n',
    'zero\0byte',
    '{}',
    '{"password":42,"pin":"very-secret"}',
    '{"password":""}',
    '["very-secret"]',
  ])('that is none is refused, and not repeated: %j', (text) => {
    const refused = ((): Error => {
      try {
        parse(text);
      } catch (error) {
        return error as Error;
      }
      throw new Error('was taken');
    })();
    expect(refused).toMatchObject({ code: 'SECRET_UNREADABLE' });
    expect(refused.message).toContain(ARN);
    expect(refused.message).not.toContain('very-secret');
  });
});

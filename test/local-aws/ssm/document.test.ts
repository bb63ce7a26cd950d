import {
  findAgentRefusal,
  findWrongParameters,
  interpolate,
  parseDocument,
} from '../../../scripts/local-aws/ssm/document.ts';

const documentWith = (parameters: Record<string, unknown>) =>
  parseDocument({
    schemaVersion: '2.2',
    parameters,
    mainSteps: [{ name: 'run', action: 'aws:runShellScript', inputs: { runCommand: ['true'] } }],
  });

describe('the parameters of a document', () => {
  it('are matched anywhere in the value by a pattern that is not anchored, as the agent does', () => {
    const document = documentWith({ Request: { type: 'String', allowedPattern: '[a-z]+' } });
    expect(findWrongParameters(document, { Request: ['A; id -un; b'] })).toEqual([]);
    expect(findAgentRefusal(document, { Request: ['A; id -un; b'] })).toBeUndefined();
  });

  it('are refused by an anchored pattern, a line feed included', () => {
    const document = documentWith({ Request: { type: 'String', allowedPattern: '^[a-z]+$' } });
    expect(findWrongParameters(document, { Request: ['abc\nid'] })).toHaveLength(1);
    expect(findAgentRefusal(document, { Request: ['abc\nid'] })).toMatch(/does not match/);
  });

  it('cannot be checked on the host by a pattern that RE2 does not know', () => {
    const document = documentWith({ Request: { type: 'String', allowedPattern: '^(?=a).*$' } });
    expect(findAgentRefusal(document, { Request: ['abc'] })).toMatch(/Perl syntax/);
  });

  it.each([
    ['{1,8192}', '^[A-Za-z0-9_-]{1,8192}$'],
    ['{1001}', 'a{1001}'],
    ['{1001,}', '[}]{1001,}'],
    ['{11}', '(?:[(]|a{2,100}){11}'],
    ['{2}', '((a{30}){20}){2}'],
  ])(
    'cannot be checked on the host by a pattern that repeats too much: %s in %s',
    (count, allowedPattern) => {
      const document = documentWith({ Request: { type: 'String', allowedPattern } });
      expect(findAgentRefusal(document, { Request: ['a'] })).toBe(
        `error parsing regexp: invalid repeat count: \`${count}\``,
      );
      // SSM itself takes the command all the same, and the host refuses it.
      expect(() => findWrongParameters(document, { Request: ['a'] })).not.toThrow();
    },
  );

  it.each(['^[a-z]{1,1000}$', '(a{30}){33}', '(a{600}|b{600})c{600}', 'a{0}{', '\\{2000}[{2000}]', 'a{x}'])(
    'are checked on the host by a pattern that repeats no more than RE2 does: %s',
    (allowedPattern) => {
      const document = documentWith({ Request: { type: 'String', allowedPattern } });
      expect(findAgentRefusal(document, {})).toBeUndefined();
    },
  );

  it('must be there, and be known', () => {
    const document = documentWith({ Request: { type: 'String' } });
    expect(findWrongParameters(document, { Other: ['x'] })).toEqual([
      'Other is no parameter of the document',
      'Request is missing',
    ]);
  });

  it('are pasted into the script as they are: nothing in the script protects it', () => {
    const document = documentWith({
      p: { type: 'String' },
      none: { type: 'String' },
      list: { type: 'StringList' },
    });
    const text = `echo '{{ p }}' "{{none}}" {{ unknown }} {{list}}`;
    expect(interpolate(text, document, { p: [`$(id)'; rm`], list: ['a b', 'c'] })).toBe(
      `echo '$(id)'; rm' "null" {{ unknown }} ["a b","c"]`,
    );
  });
});

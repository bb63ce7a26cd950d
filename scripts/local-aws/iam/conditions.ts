import { matchesArn, matchesWildcard } from './wildcard.ts';

/**
 * The condition block of a statement, over the keys of a request.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
 */

/** Of one request: `aws:PrincipalArn`, `s3:prefix`, … Several values only where AWS says that the key has several. */
export type ContextKeys = Readonly<Record<string, string | readonly string[]>>;

type Compare = (wanted: string, given: string) => boolean;

/** What a key that the request has not means: `false` for most, `true` for the negated ones. */
interface Operator {
  readonly compare: Compare;
  readonly negated: boolean;
}

const equals: Compare = (wanted, given) => wanted === given;
const equalsIgnoringCase: Compare = (wanted, given) => wanted.toLowerCase() === given.toLowerCase();

const OPERATORS: Readonly<Record<string, Operator>> = {
  StringEquals: is(equals),
  StringNotEquals: isNot(equals),
  StringEqualsIgnoreCase: is(equalsIgnoringCase),
  StringNotEqualsIgnoreCase: isNot(equalsIgnoringCase),
  StringLike: is(matchesWildcard),
  StringNotLike: isNot(matchesWildcard),
  ArnEquals: is(matchesArn),
  ArnLike: is(matchesArn),
  ArnNotEquals: isNot(matchesArn),
  ArnNotLike: isNot(matchesArn),
  Bool: is(equalsIgnoringCase),
  NumericEquals: is(numeric((wanted, given) => given === wanted)),
  NumericNotEquals: isNot(numeric((wanted, given) => given === wanted)),
  NumericLessThan: is(numeric((wanted, given) => given < wanted)),
  NumericLessThanEquals: is(numeric((wanted, given) => given <= wanted)),
  NumericGreaterThan: is(numeric((wanted, given) => given > wanted)),
  NumericGreaterThanEquals: is(numeric((wanted, given) => given >= wanted)),
};

/**
 * All operators, and all keys of each, must hold.
 * @throws Error for an operator that is not known here
 */
export function conditionsHold(
  conditions: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>,
  context: ContextKeys,
): boolean {
  const given = lowerCaseKeys(context);
  return Object.entries(conditions).every(([operator, keys]) =>
    Object.entries(keys).every(([key, wanted]) =>
      keyHolds(operator, wanted, given.get(key.toLowerCase()), given),
    ),
  );
}

function keyHolds(
  name: string,
  patterns: readonly string[],
  given: readonly string[] | undefined,
  context: ReadonlyMap<string, readonly string[]>,
): boolean {
  if (name === 'Null')
    return patterns.some((wanted) => (wanted.toLowerCase() === 'true') === (given === undefined));
  const { quantifier, base, ifExists } = parseOperator(name);
  const operator = OPERATORS[base];
  if (!operator) throw new Error(`The condition operator ${name} is not known here`);
  if (given === undefined)
    return ifExists || quantifier === 'ForAllValues' || (operator.negated && quantifier === '');
  const wanted = patterns.map((pattern) => fillVariables(pattern, context));
  const holds = (value: string): boolean =>
    wanted.some((each) => each !== undefined && operator.compare(each, value)) !== operator.negated;
  return quantifier === 'ForAnyValue' ? given.some(holds) : given.every(holds);
}

function parseOperator(name: string): { quantifier: string; base: string; ifExists: boolean } {
  const [quantifier, rest] = name.includes(':') ? (name.split(':', 2) as [string, string]) : ['', name];
  if (!['', 'ForAnyValue', 'ForAllValues'].includes(quantifier))
    throw new Error(`The condition operator ${name} is not known here`);
  const ifExists = rest.endsWith('IfExists');
  return { quantifier, base: ifExists ? rest.slice(0, -'IfExists'.length) : rest, ifExists };
}

/** `${aws:PrincipalAccount}` and the like; `undefined` when the request has no such key: the pattern then fits nothing. */
function fillVariables(pattern: string, context: ReadonlyMap<string, readonly string[]>): string | undefined {
  let complete = true;
  const filled = pattern.replaceAll(/\$\{([^}]+)\}/g, (_, key: string) => {
    if (['*', '?', '$'].includes(key)) throw new Error(`The policy variable \${${key}} is not known here`);
    const [value] = context.get(key.toLowerCase()) ?? [];
    if (value === undefined) complete = false;
    return value ?? '';
  });
  return complete ? filled : undefined;
}

/** For patterns outside of conditions, `Resource` among them. */
export function fillPolicyVariables(pattern: string, context: ContextKeys): string | undefined {
  return pattern.includes('${') ? fillVariables(pattern, lowerCaseKeys(context)) : pattern;
}

/** The names of condition keys are read without regard to case. */
function lowerCaseKeys(context: ContextKeys): Map<string, readonly string[]> {
  return new Map(
    Object.entries(context).map(([key, value]): [string, readonly string[]] => [
      key.toLowerCase(),
      typeof value === 'string' ? [value] : value,
    ]),
  );
}

function is(compare: Compare): Operator {
  return { compare, negated: false };
}

function isNot(compare: Compare): Operator {
  return { compare, negated: true };
}

function numeric(compare: (wanted: number, given: number) => boolean): Compare {
  return (wanted, given) => compare(Number(wanted), Number(given));
}

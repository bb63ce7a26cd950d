/**
 * Event patterns, as EventBridge matches them
 * (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html). An operator that this
 * does not know is an error, never a match or a miss.
 */
export function matchesPattern(pattern: unknown, event: unknown): boolean {
  return matchesObject(asObject(pattern, 'the pattern'), event);
}

type Json = Readonly<Record<string, unknown>>;

function matchesObject(pattern: Json, value: unknown): boolean {
  return Object.entries(pattern).every(([name, wanted]) => {
    if (name === '$or') return asArray(wanted, '$or').some((each) => matchesPattern(each, value));
    const found = isObject(value) ? value[name] : undefined;
    if (Array.isArray(wanted)) return matchesAny(wanted, found);
    const nested = asObject(wanted, `the pattern of ${name}`);
    return Array.isArray(found)
      ? found.some((each) => matchesObject(nested, each))
      : matchesObject(nested, found);
  });
}

/** Of a list in the event, one element that fits is enough. */
function matchesAny(wanted: readonly unknown[], found: unknown): boolean {
  const values = Array.isArray(found) ? found : [found];
  return wanted.some((each) => values.some((value) => matchesOne(each, value)));
}

function matchesOne(wanted: unknown, value: unknown): boolean {
  if (!isObject(wanted)) return wanted === value;
  const [[operator, operand] = ['', undefined], ...others] = Object.entries(wanted);
  if (others.length > 0) throw new Error(`an event pattern with two operators: ${JSON.stringify(wanted)}`);
  return applyOperator(operator, operand, value);
}

function applyOperator(operator: string, operand: unknown, value: unknown): boolean {
  switch (operator) {
    case 'exists':
      return operand === (value !== undefined);
    case 'anything-but':
      return value !== undefined && !matchesAnythingBut(operand, value);
    case 'numeric':
      return matchesNumeric(asArray(operand, 'numeric'), value);
    case 'prefix':
    case 'suffix':
    case 'equals-ignore-case':
    case 'wildcard':
      return typeof value === 'string' && matchesText(operator, operand, value);
    default:
      throw new Error(`an event pattern’s operator that the local EventBridge does not know: ${operator}`);
  }
}

/** Either values, or one more operator on them. */
function matchesAnythingBut(operand: unknown, value: unknown): boolean {
  if (isObject(operand)) return matchesOne(operand, value);
  return [operand].flat().includes(value);
}

function matchesText(operator: string, operand: unknown, value: string): boolean {
  if (isObject(operand)) {
    const ignoring = operand['equals-ignore-case'];
    if (typeof ignoring !== 'string') throw new Error(`${operator} of ${JSON.stringify(operand)}`);
    return matchesText(operator, ignoring.toLowerCase(), value.toLowerCase());
  }
  if (Array.isArray(operand)) return operand.some((each) => matchesText(operator, each, value));
  const text = String(operand);
  if (operator === 'prefix') return value.startsWith(text);
  if (operator === 'suffix') return value.endsWith(text);
  if (operator === 'equals-ignore-case') return value.toLowerCase() === text.toLowerCase();
  const parts = text.split('*').map((part) => part.replaceAll(/[\\^$.+?()[\]{}|]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(value);
}

function matchesNumeric(operand: readonly unknown[], value: unknown): boolean {
  if (typeof value !== 'number') return false;
  for (let index = 0; index < operand.length; index += 2) {
    if (!compare(value, String(operand[index]), Number(operand[index + 1]))) return false;
  }
  return true;
}

function compare(value: number, comparison: string, limit: number): boolean {
  switch (comparison) {
    case '=':
      return value === limit;
    case '<':
      return value < limit;
    case '<=':
      return value <= limit;
    case '>':
      return value > limit;
    case '>=':
      return value >= limit;
    default:
      throw new Error(`a numeric comparison that is none: ${comparison}`);
  }
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function asObject(value: unknown, what: string): Json {
  if (isObject(value)) return value;
  throw new Error(`${what} must be an object, not ${JSON.stringify(value)}`);
}

function asArray(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new Error(`${what} must be a list, not ${JSON.stringify(value)}`);
}

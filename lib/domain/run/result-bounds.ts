import type { BaseFacts, DumpFacts, RunOutcome, RunResult } from './result.ts';

/** A result is read by Lambdas and copied into messages: 64 KB at most, whatever PostgreSQL said. */
const MOST_BYTES = 64 * 1024;
const LONGEST_MESSAGE = 6000;
const LONGEST_HINT = 1000;
const MOST_WARNINGS = 20;
const LONGEST_WARNING = 600;
const MOST_LINES = 150;
const LONGEST_LINE = 200;
const MOST_JSON_CHARACTERS = 30_000;

/** The result with everything cut to a length; what was cut ends in `…`, and left out lines are counted. */
export function boundResult(result: RunResult): RunResult {
  const bounded: RunResult = {
    ...result,
    warnings: boundList(result.warnings, MOST_WARNINGS, LONGEST_WARNING),
    outcome: result.outcome && boundOutcome(result.outcome),
    failure: result.failure && {
      code: result.failure.code,
      message: cut(result.failure.message, LONGEST_MESSAGE),
      hint: cut(result.failure.hint, LONGEST_HINT),
    },
  };
  if (byteLength(bounded) <= MOST_BYTES) return bounded;
  // Only text of six bytes a character in JSON comes here; who ends it with which code still matters.
  return { ...bounded, warnings: [], outcome: bounded.failure ? null : withoutDetails(bounded.outcome) };
}

function boundOutcome(outcome: RunOutcome): RunOutcome {
  switch (outcome.kind) {
    case 'backup':
      return boundDump(outcome);
    case 'base':
      return boundBase(outcome);
    case 'both':
      return {
        ...outcome,
        dump: outcome.dump && boundDump(outcome.dump),
        base: outcome.base && boundBase(outcome.base),
      };
    case 'restore':
      return { ...outcome, source: cut(outcome.source, 2000) };
    case 'report':
      return {
        ...outcome,
        lines: boundList(outcome.lines, MOST_LINES, LONGEST_LINE),
        json: (JSON.stringify(outcome.json) ?? '').length <= MOST_JSON_CHARACTERS ? outcome.json : null,
      };
  }
}

function boundDump<Dump extends DumpFacts>(facts: Dump): Dump {
  return { ...facts, locations: boundList(facts.locations, 4, 2000) };
}

function boundBase<Base extends BaseFacts>(facts: Base): Base {
  return { ...facts, location: cut(facts.location, 2000) };
}

function withoutDetails(outcome: RunOutcome | null): RunOutcome | null {
  return outcome?.kind === 'report' ? { kind: 'report', lines: [], json: null } : outcome;
}

function boundList(items: readonly string[], most: number, longest: number): string[] {
  const kept = items.slice(0, most).map((item) => cut(item, longest));
  const left = items.length - kept.length;
  return left > 0 ? [...kept, `… and ${left} more`] : kept;
}

function cut(text: string, longest: number): string {
  return text.length <= longest ? text : `${text.slice(0, longest)}…`;
}

function byteLength(value: unknown): number {
  // As it is written, with its line feed.
  return new TextEncoder().encode(JSON.stringify(value, null, 1)).length + 1;
}

/**
 * A pattern as the SSM agent compiles it: by Go's regexp package, which is RE2 (https://github.com/google/re2/wiki/Syntax).
 * It knows neither looking around nor references back, and repeats nothing more than a thousand times, the product of nested
 * repetitions included (`repeatIsValid` in https://go.dev/src/regexp/syntax/parse.go).
 * @throws Error in Go's words
 */
export function compileRe2(pattern: string): RegExp {
  if (/\(\?[=!<]|\\[1-9]/.test(pattern)) throw new Error(`invalid or unsupported Perl syntax in ${pattern}`);
  const compiled = new RegExp(pattern);
  refuseManyRepeats(pattern);
  return compiled;
}

const MOST_REPEATS = 1000;

/** A class, an escape, a repetition, a bracket, or one character. */
const TOKEN = /\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|\{(\d+)(,?)(\d*)\}|[^]/g;

function refuseManyRepeats(pattern: string): void {
  // For each group that is open: the most copies of anything in it; and of what the next repetition would repeat.
  const open = [{ most: 1, last: 1 }];
  for (const [token, least, comma, most] of pattern.matchAll(TOKEN)) {
    const group = open.at(-1)!;
    if (token === '(') open.push({ most: 1, last: 1 });
    else if (token === ')' && open.length > 1) {
      const inner = open.pop()!.most;
      const outer = open.at(-1)!;
      outer.last = inner;
      outer.most = Math.max(outer.most, inner);
    } else if (least === undefined) group.last = 1;
    else {
      const copies = Number(comma === ',' && most !== '' ? most : least);
      group.last *= Math.max(copies, 1);
      if (Number(least) > MOST_REPEATS || group.last > MOST_REPEATS)
        throw new Error(`invalid repeat count: \`${token}\``);
      group.most = Math.max(group.most, group.last);
    }
  }
}

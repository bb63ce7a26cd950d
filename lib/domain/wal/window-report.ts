import { formatLsn } from './lsn.ts';
import type { RestorablePoint } from './known-commits.ts';
import type { RestorableTimeline, RestorableWindow } from './window.ts';
import type { WindowHole } from './window-holes.ts';

/** The window for people, a line each: `2026-01-10T02:04:11.123456Z to 2026-01-17T08:54:59.123456Z, timeline 1`. */
export function describeWindow(window: RestorableWindow): string[] {
  if (window.timelines.length === 0)
    return [`nothing of the cluster ${window.systemIdentifier} can be recovered`];
  const stretches = window.timelines.flatMap((line) =>
    line.stretches.map(
      ({ earliest, latest }) => `${earliest.time} to ${latest.time}, timeline ${line.timeline}`,
    ),
  );
  return [...stretches, ...window.holes.map(describeHole)];
}

/** One line, for people. */
export function describeHole({ timeline, from, to, since, until, reason }: WindowHole): string {
  const missing = `timeline ${timeline} from ${formatLsn(from)} to ${to === undefined ? 'its end' : formatLsn(to)}`;
  const healed = until === undefined ? 'until the next base backup' : `to ${until}`;
  return `hole: nothing after ${since} ${healed}; no WAL of ${missing}${reason === undefined ? '' : ` (${reason})`}`;
}

/** For `--json` and the state bucket: positions as text, files left out. */
export interface WindowJson {
  readonly systemIdentifier: string;
  readonly earliest: PointJson | null;
  readonly latest: PointJson | null;
  readonly timelines: readonly {
    readonly timeline: number;
    readonly began: PointJson;
    readonly stretches: readonly {
      readonly earliest: PointJson;
      readonly latest: PointJson;
      readonly walEnd: string;
      readonly bases: readonly string[];
    }[];
  }[];
  readonly holes: readonly {
    readonly timeline: number;
    readonly from: string;
    readonly to: string | null;
    readonly since: string;
    readonly until: string | null;
    readonly reason: string | null;
  }[];
}

interface PointJson {
  readonly time: string;
  readonly lsn: string;
}

/** As `wal status --json` prints it. */
export function windowJson(window: RestorableWindow): WindowJson {
  return {
    systemIdentifier: window.systemIdentifier,
    earliest: window.earliest ? pointJson(window.earliest) : null,
    latest: window.latest ? pointJson(window.latest) : null,
    timelines: window.timelines.map(timelineJson),
    holes: window.holes.map(({ timeline, from, to, since, until, reason }) => ({
      timeline,
      from: formatLsn(from),
      to: to === undefined ? null : formatLsn(to),
      since,
      until: until ?? null,
      reason: reason ?? null,
    })),
  };
}

function timelineJson({ timeline, began, stretches }: RestorableTimeline): WindowJson['timelines'][number] {
  return {
    timeline,
    began: pointJson(began),
    stretches: stretches.map(({ earliest, latest, walEnd, bases }) => ({
      earliest: pointJson(earliest),
      latest: pointJson(latest),
      walEnd: formatLsn(walEnd),
      bases: bases.map(({ label }) => label),
    })),
  };
}

function pointJson({ time, lsn }: RestorablePoint): PointJson {
  return { time, lsn: formatLsn(lsn) };
}

import { LifeboatError } from '../errors.ts';

/**
 * A base backup's label is `<app>_base_<UTC date>_<UTC time>`, as in `hostmaster_base_20260117_020000`: the time of its
 * start. It names the backup; which of two is the newer is told by their manifests, never by their labels.
 */
export interface BaseLabel {
  readonly app: string;
  /** Whole seconds, UTC. */
  readonly time: Date;
}

const LABEL = /^(?<app>[A-Za-z0-9][A-Za-z0-9._-]*)_base_(?<day>\d{8})_(?<clock>\d{6})$/;

/** Its folder's name, as in `hostmaster_base_20260117_020000`; UTC. */
export function formatBaseLabel({ app, time }: BaseLabel): string {
  const [day, clock] = time.toISOString().slice(0, 19).split('T') as [string, string];
  return `${app}_base_${day.replaceAll('-', '')}_${clock.replaceAll(':', '')}`;
}

/** `undefined` when `text` is no label, or names a date that does not exist. */
export function parseBaseLabel(text: string): BaseLabel | undefined {
  const groups = LABEL.exec(text)?.groups;
  if (!groups) return undefined;
  const { app, day, clock } = groups as { app: string; day: string; clock: string };
  const iso = `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}T${clock.slice(0, 2)}:${clock.slice(2, 4)}:${clock.slice(4)}.000Z`;
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) || time.toISOString() !== iso ? undefined : { app, time };
}

/** @throws LifeboatError USAGE when `text` is no label */
export function requireBaseLabel(text: string): BaseLabel {
  const label = parseBaseLabel(text);
  if (label) return label;
  throw new LifeboatError(
    'USAGE',
    `${JSON.stringify(text)} is no base backup; one looks like hostmaster_base_20260117_020000`,
    { hint: 'Run: lifeboat list' },
  );
}

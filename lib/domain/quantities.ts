/** How sizes, durations and times are written for people: as `du -h` and the user's own messages do. */

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'] as const;

/** `12M`, `1.4G`, `0`: powers of 1024, one decimal below 10, rounded up like `du -h`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  if (unit === 0) return `${Math.ceil(value)}`;
  const tenths = Math.ceil(value * 10) / 10;
  if (tenths < 10) return `${tenths.toFixed(1)}${UNITS[unit]}`;
  const whole = Math.ceil(value);
  return whole === 1024 && unit < UNITS.length - 1 ? `1.0${UNITS[unit + 1]}` : `${whole}${UNITS[unit]}`;
}

/** `45s`, `2m 05s`, `1h 03m`, `3d 4h`. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${pad(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h ${pad(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** `2026-01-17 08:55:00`, UTC like every time that Lifeboat writes. */
export function formatTime(time: Date): string {
  return time.toISOString().slice(0, 19).replace('T', ' ');
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}

/** `1 table`, `1,069,852 rows`. @param unit in the singular */
export function formatCount(value: number, unit: string): string {
  const digits = String(value).replace(/\B(?=(\d{3})+$)/g, ',');
  return `${digits} ${unit}${value === 1 ? '' : 's'}`;
}

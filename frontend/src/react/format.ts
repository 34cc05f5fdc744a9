/** Formatting of numbers and times. Pure. */

export function percent(progress: number): string {
  // Never "100%" before the end, never "0%" after the start.
  const value = progress * 100;
  if (value >= 1 || value === 0) return `${progress >= 1 ? 100 : Math.min(99, Math.floor(value + 1e-6))}%`;
  return "<1%";
}

/** What follows a number of these: a space belongs to it, where the language has one. */
export interface Units {
  readonly ms: string;
  readonly s: string;
  readonly m: string;
  readonly h: string;
}

const UNITS: Units = { ms: " ms", s: " s", m: " m", h: " h" };

/** 480 ms, 3.2 s, 1 m 05 s, 2 h 03 m. */
export function duration(ms: number, units = UNITS): string {
  if (ms < 950) return `${Math.max(0, Math.round(ms / 10) * 10)}${units.ms}`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)}${units.s}`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds}${units.s}`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}${units.m} ${String(seconds % 60).padStart(2, "0")}${units.s}`;
  return `${Math.floor(minutes / 60)}${units.h} ${String(minutes % 60).padStart(2, "0")}${units.m}`;
}

/** A running time, in whole seconds: with fractions it would flicker. */
export function ticking(ms: number, units = UNITS): string {
  return ms < 10_000
    ? `${Math.floor(ms / 1_000)}${units.s}`
    : duration(Math.floor(ms / 1_000) * 1_000, units);
}

/** An estimated time, not more exact than the estimate: in steps of 5 seconds below a minute, in minutes above. */
export function roughDuration(ms: number, units = UNITS): string {
  const seconds = Math.max(1, Math.round(ms / 1_000));
  if (seconds <= 10) return `${seconds}${units.s}`;
  if (seconds < 60) return `${Math.ceil(seconds / 5) * 5}${units.s}`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60
    ? `${minutes}${units.m}`
    : `${Math.floor(minutes / 60)}${units.h} ${minutes % 60}${units.m}`;
}

/** The time of day in the reader's time zone: 14:03:07, or 14:03:07.042 with `withMs`. `ts` is in Unix ms. */
export function clock(ts: number, withMs = false): string {
  const date = new Date(ts);
  const two = (value: number) => String(value).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return withMs ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
}

/** The line of an error that says what is wrong: the last one of a traceback, the first one of any other text. */
export function errorLine(error: string): string {
  const lines = error.trim().split("\n");
  const isTraceback = lines.length > 1 && /^Traceback|^\s*File "/.test(lines[0] ?? "");
  return (isTraceback ? lines.at(-1) : lines[0]) ?? "";
}

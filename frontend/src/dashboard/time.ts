/** Times as text, in the reader's language. */

const UNITS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
];

/** One formatter for each language: making one is slow, using it is fast. */
function once<T>(make: (language: string) => T): (language: string) => T {
  const made = new Map<string, T>();
  return (language) => {
    const known = made.get(language);
    if (known !== undefined) return known;
    const fresh = make(language);
    made.set(language, fresh);
    return fresh;
  };
}

const relative = once(
  (language) => new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" }),
);
const absolute = once(
  (language) => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" }),
);

/** "now", "5 minutes ago", "2 days ago". */
export function ago(ts: number, now: number, language: string): string {
  const format = relative(language);
  const passed = Math.max(0, now - ts);
  for (const [unit, ms] of UNITS) if (passed >= ms) return format.format(-Math.floor(passed / ms), unit);
  return format.format(0, "second");
}

/** Date and time, to the second. */
export function moment(ts: number, language: string): string {
  return absolute(language).format(ts);
}

/** Positions in a run's log, `<epoch>-<seq>`: the same over every transport. */

export interface Cursor {
  readonly epoch: string;
  readonly seq: number;
}

export const START = "0-0";

/** The parts of a cursor, or null when it is not one. */
export function parseCursor(text: string): Cursor | null {
  const match = /^([a-z0-9]{1,32})-(\d{1,15})$/.exec(text);
  if (match === null) return null;
  return { epoch: match[1] ?? "", seq: Number(match[2]) };
}

/**
 * Where the cursor `next` lies after `current`: the `next` one, already `seen`, after a `gap`, or of a `foreign` log.
 */
export function relate(current: string, next: string): "next" | "seen" | "gap" | "foreign" {
  const here = parseCursor(current);
  const there = parseCursor(next);
  if (here === null || there === null) return "foreign";
  // An unknown run begins with its first event, in any epoch.
  if (current === START) return there.seq === 1 ? "next" : "gap";
  if (here.epoch !== there.epoch) return "foreign";
  if (there.seq <= here.seq) return "seen";
  return there.seq === here.seq + 1 ? "next" : "gap";
}

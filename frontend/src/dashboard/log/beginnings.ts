/** Where in a log each attempt begins. Pure. */

import type { LogLine, ProgressEvent } from "../../react/index";

export interface Beginning {
  readonly attempt: number;
  /** The number of its first event. */
  readonly seq: number;
}

/** The beginnings of the attempts that these events are of, the events in order. */
export function beginningsOf(events: readonly ProgressEvent[]): readonly Beginning[] {
  const out: Beginning[] = [];
  for (const { attempt, seq } of events) if (attempt > (out.at(-1)?.attempt ?? 0)) out.push({ attempt, seq });
  return out;
}

/** The attempt that wrote a line; null when that is not known. */
export function attemptOf(line: LogLine | undefined, beginnings: readonly Beginning[]): number | null {
  if (line === undefined) return null;
  const { seq } = line;
  if (line.attempt !== null || seq === null) return line.attempt;
  return beginnings.findLast((beginning) => beginning.seq <= seq)?.attempt ?? null;
}

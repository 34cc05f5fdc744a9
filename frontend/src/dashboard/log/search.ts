/** The filter and the search of a log. Pure. */

import type { LogLevel, LogLine } from "../../react/index";
import { plain } from "./ansi";

const ORDER: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warning: 2, error: 3 };

/** Lines of at least this level; a line whose level is unknown counts as info. */
export function atLeast(lines: readonly LogLine[], level: LogLevel): readonly LogLine[] {
  if (level === "debug") return lines;
  return lines.filter((line) => ORDER[line.level ?? "info"] >= ORDER[level]);
}

/** The lines of one step; of all for null. */
export function ofStep(lines: readonly LogLine[], step: string | null): readonly LogLine[] {
  return step === null ? lines : lines.filter((line) => line.step === step);
}

/** Indices of the lines that contain `needle`, whatever its case. */
export function hits(lines: readonly LogLine[], needle: string): readonly number[] {
  if (needle === "") return [];
  const lower = needle.toLowerCase();
  const found: number[] = [];
  lines.forEach((line, index) => {
    if (plain(line.message).toLowerCase().includes(lower)) found.push(index);
  });
  return found;
}

/** `text`, cut at each hit of `needle`: every second piece is a hit. */
export function pieces(text: string, needle: string): readonly string[] {
  if (needle === "") return [text];
  const out: string[] = [];
  const lower = text.toLowerCase();
  const target = needle.toLowerCase();
  // A few letters are longer in lower case (İ): the positions would be wrong, so no hit is marked.
  if (lower.length !== text.length) return [text];
  let from = 0;
  for (let at = lower.indexOf(target); at !== -1; at = lower.indexOf(target, from)) {
    out.push(text.slice(from, at), text.slice(at, at + target.length));
    from = at + target.length;
  }
  out.push(text.slice(from));
  return out;
}

/** What a row shows of a long message. Pure. */

import type { Span } from "./ansi";
import { cut, spans, textOf } from "./ansi";
import { linked } from "./links";

/** A longer message is folded: laying out a row of 64 KiB takes a browser longer than a frame. */
export const FOLD_AT_CHARS = 2_000;

export interface Shown {
  readonly spans: readonly Span[];
  /** Number of characters that are not shown. */
  readonly hidden: number;
}

/** The message's first characters, or all of it. */
export function shownOf(message: string, whole: boolean): Shown {
  const all = spans(message);
  const text = textOf(all);
  if (whole || text.length <= FOLD_AT_CHARS) return { spans: linked(all), hidden: 0 };
  // not between the two halves of one character
  const isHalf = /[\ud800-\udbff]/.test(text[FOLD_AT_CHARS - 1] ?? "");
  const end = FOLD_AT_CHARS - Number(isHalf);
  return { spans: cut(linked(all), 0, end), hidden: text.length - end };
}

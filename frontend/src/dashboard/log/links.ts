/** The web addresses in a log line. Pure. */

import type { Span } from "./ansi";
import { cut, textOf } from "./ansi";

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`{}|\\^]+/gi;
/** Punctuation that ends a sentence, not an address. */
const AFTER = /[.,;:!?…。、，]+$/;
const PAIRS: Readonly<Record<string, string>> = { ")": "(", "]": "[" };

/** The spans, cut at each http or https address, which has its `href`. */
export function linked(spans: readonly Span[]): readonly Span[] {
  const text = textOf(spans);
  if (!text.includes("://")) return spans;
  const out: Span[] = [];
  let from = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const href = withoutAfter(match[0]);
    const end = match.index + href.length;
    out.push(...cut(spans, from, match.index));
    out.push(...cut(spans, match.index, end).map((span) => ({ ...span, href })));
    from = end;
  }
  out.push(...cut(spans, from, text.length));
  return out;
}

/** An address without the punctuation after it, and without a bracket that was opened before it. */
function withoutAfter(address: string): string {
  let kept = address.replace(AFTER, "");
  for (let last = kept.at(-1) ?? ""; PAIRS[last] !== undefined; last = kept.at(-1) ?? "") {
    if (kept.split(PAIRS[last] ?? "").length >= kept.split(last).length) break;
    kept = kept.slice(0, -1).replace(AFTER, "");
  }
  return kept;
}

/**
 * A log line as a terminal shows it: its colours (ANSI SGR sequences), and what `\r` and the backspace write over. Pure.
 * Other escape sequences are removed.
 */

import { colourOf } from "./colours";

export interface Span {
  readonly text: string;
  /** CSS classes, "" for none. */
  readonly style: string;
  /** A CSS colour that no class has. */
  readonly colour?: string;
  readonly href?: string;
}

// biome-ignore-start lint/suspicious/noControlCharactersInRegex: these find control characters
const SEQUENCE = /\x1b(?:\[([0-9;:]*)m|\[([0-9;?]*)([A-Za-ln-z])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;
/** The characters that reorder a line's text (Unicode's Bidi_Control). */
const REORDERS = "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069";
const SPECIAL = new RegExp(`${SEQUENCE.source}|[\\r\\n\\x08${REORDERS}]`, "g");
const ANY = new RegExp(`[\\x1b\\r\\x08${REORDERS}]`);
/** More than colours: the text is not only what is left without the escape sequences. */
const MOVES = new RegExp(`[\\r\\x08${REORDERS}]|\\x1b\\[\\d*[GK]`);
// biome-ignore-end lint/suspicious/noControlCharactersInRegex: see above

interface Style {
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  /** 0..15 have a colour in each theme; the others are CSS colours. */
  colour: number | string | null;
}

const PLAIN: Style = { bold: false, dim: false, italic: false, underline: false, colour: null };

export function spans(message: string): readonly Span[] {
  if (!ANY.test(message)) return [{ text: message, style: "" }];
  const done: Span[] = [];
  let line = new Line();
  let style = PLAIN;
  let from = 0;
  const write = (to: number) => {
    if (to > from) line.write(styled(message.slice(from, to), style));
  };
  for (const match of message.matchAll(SPECIAL)) {
    const [found, codes, argument = "", command] = match;
    write(match.index);
    from = match.index + found.length;
    if (codes !== undefined) style = applied(style, codes);
    else if (command === "K") line.erase(Number(argument));
    else if (command === "G") line.move(Math.max(1, Number(argument)) - 1);
    else if (found === "\r") line.move(0);
    else if (found === "\b") line.move(line.at - 1);
    else if (found === "\n") {
      done.push(...line.spans, { text: "\n", style: "" });
      line = new Line();
    } else if (found.length === 1) line.write(markOf(found));
  }
  write(message.length);
  return [...done, ...line.spans];
}

/** The message as `spans` shows it, without colours, for copying and searching. */
export function plain(message: string): string {
  if (!ANY.test(message)) return message;
  if (!MOVES.test(message)) return message.replace(SEQUENCE, "");
  return textOf(spans(message));
}

export function textOf(parts: readonly Span[]): string {
  return parts.map((span) => span.text).join("");
}

/** The characters `from` to `to` of the spans' text. */
export function cut(parts: readonly Span[], from: number, to: number): readonly Span[] {
  const out: Span[] = [];
  let start = 0;
  for (const span of parts) {
    const text = span.text.slice(Math.max(0, from - start), Math.max(0, to - start));
    if (text !== "") out.push(text === span.text ? span : { ...span, text });
    start += span.text.length;
  }
  return out;
}

/** One line of a terminal. A character counts as one column. */
class Line {
  spans: Span[] = [];
  /** Where the next text is written: over what is there already. */
  at = 0;
  #length = 0;

  write(span: Span): void {
    const end = this.at + span.text.length;
    if (this.at === this.#length) this.spans.push(span);
    else
      this.spans = [...cut(this.spans, 0, this.at), span, ...cut(this.spans, end, Number.POSITIVE_INFINITY)];
    this.#length = Math.max(this.#length, end);
    this.at = end;
  }

  move(to: number): void {
    this.at = Math.max(0, Math.min(to, this.#length));
  }

  /** Erase from the cursor to the end (0), the whole line (2); from the start to the cursor (1) is left as it is. */
  erase(mode: number): void {
    if (mode === 1) return;
    this.#length = mode === 2 ? 0 : this.at;
    this.spans = [...cut(this.spans, 0, this.#length)];
    this.move(this.at);
  }
}

/** A character that would reorder the text, by its name. */
function markOf(character: string): Span {
  const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
  return { text: `<U+${code}>`, style: "log-mark" };
}

function applied(before: Style, codes: string): Style {
  const style = { ...before };
  const items = codes.split(";");
  for (let index = 0; index < items.length; index += 1) {
    const [code = 0, ...parts] = (items[index] ?? "").split(":").map(Number);
    if (code === 0) Object.assign(style, PLAIN);
    else if (code === 1) style.bold = true;
    else if (code === 2) style.dim = true;
    else if (code === 3) style.italic = true;
    else if (code === 4) style.underline = parts[0] !== 0;
    else if (code === 22) style.bold = style.dim = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.underline = false;
    else if (code >= 30 && code <= 37) style.colour = code - 30;
    else if (code >= 90 && code <= 97) style.colour = code - 82;
    else if (code === 39) style.colour = null;
    else if (code === 38 || code === 48 || code === 58) {
      // 38: the text's colour; 48: the background's, 58: the underline's, which are not shown
      const isOneItem = parts.length > 0; // 38:2::r:g:b, else 38;2;r;g;b
      const given = isOneItem ? parts : items.slice(index + 1, index + 5).map(Number);
      const isIndexed = given[0] === 5;
      if (!isOneItem) index += isIndexed ? 2 : 4;
      const colour = colourOf(isIndexed ? given.slice(1, 2) : given.slice(-3));
      if (code === 38 && colour !== null) style.colour = colour;
    }
  }
  return style;
}

function styled(text: string, style: Style): Span {
  const names: string[] = [];
  const { colour } = style;
  if (typeof colour === "number") names.push(`ansi-${colour}`);
  if (typeof colour === "string") names.push("ansi-rgb");
  for (const name of ["bold", "dim", "italic", "underline"] as const)
    if (style[name]) names.push(`ansi-${name}`);
  return { text, style: names.join(" "), ...(typeof colour === "string" && { colour }) };
}

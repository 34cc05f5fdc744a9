/** Terminal colours (ANSI SGR sequences) in log lines. Pure. Other escape sequences are removed. */

export interface Span {
  readonly text: string;
  /** CSS classes, "" for none. */
  readonly style: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const SEQUENCE = /\x1b(?:\[([0-9;]*)m|\[[0-9;?]*[A-Za-ln-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: this finds the escape character
const ANY = /\x1b/;

interface Style {
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  colour: number | null;
}

const PLAIN: Style = { bold: false, dim: false, italic: false, underline: false, colour: null };

export function spans(line: string): readonly Span[] {
  if (!ANY.test(line)) return [{ text: line, style: "" }];
  const out: Span[] = [];
  let style = PLAIN;
  let from = 0;
  for (const match of line.matchAll(SEQUENCE)) {
    if (match.index > from) out.push({ text: line.slice(from, match.index), style: classes(style) });
    from = match.index + match[0].length;
    if (match[1] !== undefined) style = applied(style, match[1]);
  }
  if (from < line.length) out.push({ text: line.slice(from), style: classes(style) });
  return out;
}

/** The line without escape sequences, for copying and searching. */
export function plain(line: string): string {
  return ANY.test(line) ? line.replace(SEQUENCE, "") : line;
}

function applied(before: Style, codes: string): Style {
  const style = { ...before };
  const numbers = codes.split(";").map(Number);
  for (let index = 0; index < numbers.length; index += 1) {
    const code = numbers[index] ?? 0;
    if (code === 0) Object.assign(style, PLAIN);
    else if (code === 1) style.bold = true;
    else if (code === 2) style.dim = true;
    else if (code === 3) style.italic = true;
    else if (code === 4) style.underline = true;
    else if (code === 22) style.bold = style.dim = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.underline = false;
    else if (code >= 30 && code <= 37) style.colour = code - 30;
    else if (code >= 90 && code <= 97) style.colour = code - 82;
    else if (code === 39) style.colour = null;
    else if (code === 38 || code === 48) {
      // 256 colours: only the first sixteen have a colour in both themes. The others are not shown.
      const isIndexed = numbers[index + 1] === 5;
      const colour = numbers[index + 2] ?? 16;
      if (code === 38 && isIndexed && colour < 16) style.colour = colour;
      index += isIndexed ? 2 : 4;
    }
  }
  return style;
}

function classes(style: Style): string {
  const names: string[] = [];
  if (style.colour !== null) names.push(`ansi-${style.colour}`);
  for (const name of ["bold", "dim", "italic", "underline"] as const)
    if (style[name]) names.push(`ansi-${name}`);
  return names.join(" ");
}

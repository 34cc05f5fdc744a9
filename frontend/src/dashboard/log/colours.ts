/** The colours of terminals: 256 by number, and any by red, green and blue. Pure. */

/** The strengths of each of the three colours in the 6×6×6 cube (xterm's). */
const STRENGTHS = [0, 95, 135, 175, 215, 255];
const CUBE_FROM = 16;
const GREYS_FROM = 232;

/**
 * A colour from `[number]` or `[red, green, blue]`, each 0..255; null when it is none. Numbers below 16 stay numbers:
 * they are names, such as "red", and each theme has its own colours for them.
 */
export function colourOf(given: readonly number[]): number | string | null {
  if (!given.every((value) => Number.isInteger(value) && value >= 0 && value <= 255)) return null;
  const [first = 0] = given;
  if (given.length === 3) return `rgb(${given.join(" ")})`;
  if (given.length !== 1) return null;
  if (first < CUBE_FROM) return first;
  if (first >= GREYS_FROM) {
    const grey = 8 + (first - GREYS_FROM) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const place = first - CUBE_FROM;
  const parts = [Math.floor(place / 36), Math.floor(place / 6) % 6, place % 6];
  return `rgb(${parts.map((part) => STRENGTHS[part]).join(" ")})`;
}

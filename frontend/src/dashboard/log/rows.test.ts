import { describe, expect, it } from "vitest";
import { plain, spans, textOf } from "./ansi";
import { colourOf } from "./colours";
import { FOLD_AT_CHARS, shownOf } from "./fold";
import { linked } from "./links";

describe("what a terminal writes over", () => {
  it.each([
    ["10%\r20%\r30%", "30%"],
    ["100%\r7%", "7%0%"],
    ["50 %\r", "50 %"],
    ["first\r\nsecond\r\n", "first\nsecond\n"],
    ["kept\nold\rnew", "kept\nnew"],
    ["Downloading\r\x1b[KDone", "Done"],
    ["Downloading\x1b[2K\rDone", "Done"],
    ["one two\x1b[5Gsix", "one six"],
    ["|\b/\b-", "-"],
    ["\x1b[31mred\x1b[0m\r\x1b[32mg", "ged"],
    ["\b\r\r", ""],
  ])("%j is shown as %j", (message, shown) => {
    expect(plain(message)).toBe(shown);
    expect(textOf(spans(message))).toBe(shown);
  });

  it("what is left keeps its colour", () => {
    expect(spans("\x1b[31mred\x1b[0m\r\x1b[32mg")).toEqual([
      { text: "g", style: "ansi-2" },
      { text: "ed", style: "ansi-1" },
    ]);
  });

  it("a progress bar of 64 KiB costs no second", () => {
    const message = Array.from({ length: 6_000 }, (_, n) => `\x1b[3${n % 8}m${n} of 6000\x1b[0m`).join("\r");
    const started = performance.now();
    expect(plain(message)).toBe("5999 of 6000");
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe("256 and true colours", () => {
  it.each([
    [[9], 9],
    [[16], "rgb(0 0 0)"],
    [[202], "rgb(255 95 0)"],
    [[231], "rgb(255 255 255)"],
    [[232], "rgb(8 8 8)"],
    [[255], "rgb(238 238 238)"],
    [[1, 2, 3], "rgb(1 2 3)"],
    [[256], null],
    [[1, 2, Number.NaN], null],
    [[1, 2], null],
    [[], null],
  ])("%j is %j", (given, colour) => expect(colourOf(given)).toBe(colour));

  it.each([
    "\x1b[38;5;202mx",
    "\x1b[38:5:202mx",
    "\x1b[1;38;2;255;95;0;22mx",
    "\x1b[38:2::255:95:0mx",
    "\x1b[38:2:255:95:0mx",
    "\x1b[38;5;202;48;2;1;2;3mx",
  ])("%j", (message) =>
    expect(spans(message)).toEqual([{ text: "x", style: "ansi-rgb", colour: "rgb(255 95 0)" }]),
  );

  it("a colour that is none changes nothing; a reset ends it", () => {
    expect(spans("\x1b[38;5;999ma\x1b[38;2;1;2;3mb\x1b[39mc").map((span) => span.colour)).toEqual([
      undefined,
      "rgb(1 2 3)",
      undefined,
    ]);
  });
});

it("characters that reorder text are shown by name, and copied so", () => {
  const message = "rm -rf \u202e/gnp.tac\u202c\u200f";
  expect(plain(message)).toBe("rm -rf <U+202E>/gnp.tac<U+202C><U+200F>");
  expect(spans(message).filter((span) => span.style === "log-mark")).toHaveLength(3);
  expect(plain("우주 고양이 🐈 שלום")).toBe("우주 고양이 🐈 שלום");
});

describe("addresses", () => {
  const found = (message: string) =>
    linked(spans(message)).flatMap((span) => (span.href === undefined ? [] : [[span.text, span.href]]));

  it.each([
    ["see https://a.example/b?c=d#e.", "https://a.example/b?c=d#e"],
    ["(https://a.example/b)", "https://a.example/b"],
    ["https://a.example/Cat_(animal), or", "https://a.example/Cat_(animal)"],
    ["<http://127.0.0.1:8000/>", "http://127.0.0.1:8000/"],
    ['"url":"https://a.example/x"}', "https://a.example/x"],
    ["https://a.example/우주。", "https://a.example/우주"],
  ])("%j", (message, href) => expect(found(message)).toEqual([[href, href]]));

  it.each(["javascript://x", "a://b", "xhttps://a.example", "http://", "nothing"])("%j is none", (message) =>
    expect(found(message)).toEqual([]),
  );

  it("in two colours are one address; the text stays what it is", () => {
    const message = "get \x1b[32mhttps://a.example\x1b[0m/path now";
    expect(found(message)).toEqual([
      ["https://a.example", "https://a.example/path"],
      ["/path", "https://a.example/path"],
    ]);
    expect(textOf(linked(spans(message)))).toBe("get https://a.example/path now");
  });
});

describe("a monster line", () => {
  it("is folded, and says how much is left", () => {
    expect(shownOf("x".repeat(FOLD_AT_CHARS), false).hidden).toBe(0);
    const { spans: parts, hidden } = shownOf("x".repeat(50_000), false);
    expect([textOf(parts).length, hidden]).toEqual([FOLD_AT_CHARS, 48_000]);
    expect(shownOf("x".repeat(50_000), true).hidden).toBe(0);
  });

  it("is not cut within a character or an address", () => {
    const cat = `${"x".repeat(FOLD_AT_CHARS - 1)}🐈 and more`;
    expect(textOf(shownOf(cat, false).spans)).toBe("x".repeat(FOLD_AT_CHARS - 1));
    const address = `${"x".repeat(FOLD_AT_CHARS - 12)} https://a.example/path`;
    expect(shownOf(address, false).spans.at(-1)?.href).toBe("https://a.example/path");
  });
});

import { describe, expect, it } from "vitest";
import { unknownRun } from "../core/reducer.js";
import type { Json, LogLine, RunState } from "../react/index";
import { ENGLISH, KOREAN } from "../react/index";
import { laneOf, spanOf } from "../react/lanes";
import { errorsOf, fieldsOf, initialValues, readValues } from "./form/schema";
import { plain, spans } from "./log/ansi";
import { atLeast, hits, pieces } from "./log/search";
import { queuedMs } from "./pages/attempts";
import { bytes, factOf, readResult } from "./pages/result";
import { wholeRun } from "./pages/wholeRun";
import { pageOf, runPath } from "./router";
import { ago } from "./time";
import { faviconSvg } from "./title";

const line = (message: string, level: LogLine["level"] = "info"): LogLine => ({
  key: 0,
  seq: 1,
  ts: 1,
  level,
  step: null,
  attempt: 1,
  message,
});

describe("addresses", () => {
  it.each([
    ["/", { name: "runs" }],
    ["/runs/20251105_1430_%EC%9A%B0%EC%A3%BC", { name: "run", runId: "20251105_1430_우주" }],
    ["/runs/a%2Fb", { name: "run", runId: "a/b" }],
    ["/new", { name: "new", pipeline: null }],
    ["/new/shorts/", { name: "new", pipeline: "shorts" }],
    ["/runs/a/b", { name: "missing" }],
    ["/runs/%E0%A4%A", { name: "missing" }],
    ["/elsewhere", { name: "missing" }],
  ])("%s", (path, page) => expect(pageOf(path)).toEqual(page));

  it("lead back to where they came from", () => {
    const runId = "우주 고양이?#&%";
    expect(pageOf(runPath(runId))).toEqual({ name: "run", runId });
  });
});

describe("terminal colours", () => {
  it("become classes", () => {
    expect(spans("\x1b[1;32mok\x1b[0m done")).toEqual([
      { text: "ok", style: "ansi-2 ansi-bold" },
      { text: " done", style: "" },
    ]);
    expect(spans("\x1b[91ma\x1b[39mb\x1b[38;5;4mc\x1b[38;2;1;2;3md").map((span) => span.style)).toEqual([
      "ansi-9",
      "",
      "ansi-4",
      "ansi-rgb",
    ]);
  });

  it("other sequences vanish instead of showing as rubbish", () => {
    expect(plain("\x1b[2K\x1b[1Ghello\x1b]0;title\x07 \x1b[?25lworld")).toBe("hello world");
  });

  it("a line without any is left as it is", () =>
    expect(spans("[31m is text")).toEqual([{ text: "[31m is text", style: "" }]));
});

describe("the log", () => {
  it("filters by level, unknown levels counting as info", () => {
    const lines = [line("a", "debug"), line("b", null), line("c", "warning"), line("d", "error")];
    expect(atLeast(lines, "debug")).toBe(lines);
    expect(atLeast(lines, "info").map((item) => item.message)).toEqual(["b", "c", "d"]);
    expect(atLeast(lines, "error").map((item) => item.message)).toEqual(["d"]);
  });

  it("is searched without case and without its colours", () => {
    expect(hits([line("\x1b[1mSc\x1b[0mene"), line("other"), line("obscene")], "SCENE")).toEqual([0, 2]);
    expect(hits([line("a")], "")).toEqual([]);
  });

  it("marks every hit of a line", () => {
    expect(pieces("Aa-aA", "aa")).toEqual(["", "Aa", "-", "aA", ""]);
    expect(pieces("İstanbul", "istanbul")).toEqual(["İstanbul"]);
  });
});

describe("start forms", () => {
  const schema = {
    $defs: { Locale: { enum: ["ko", "en"], title: "Locale", type: "string" } },
    required: ["prompt", "count"],
    properties: {
      prompt: { type: "string", maxLength: 2000, title: "Prompt" },
      locale: { allOf: [{ $ref: "#/$defs/Locale" }], default: "ko" },
      count: { type: "integer", minimum: 1 },
      ratio: { anyOf: [{ type: "number" }, { type: "null" }], default: null },
      loud: { type: "boolean", default: true },
      tags: { type: "array", items: { type: "string" } },
    },
  };
  const fields = fieldsOf(schema);

  it("have a field for each property, through references and optional types", () => {
    expect(fields.map((field) => [field.name, field.kind, field.required])).toEqual([
      ["prompt", "paragraph", true],
      ["locale", "choice", false],
      ["count", "integer", true],
      ["ratio", "number", false],
      ["loud", "boolean", false],
      ["tags", "json", false],
    ]);
    expect(initialValues(fields)).toMatchObject({ locale: "ko", ratio: "", loud: true });
  });

  it("give the input with its types, leaving out what is empty", () => {
    const values = { ...initialValues(fields), prompt: "cats", count: "3", tags: '["a"]' };
    expect(readValues(fields, values)).toEqual({
      input: { prompt: "cats", locale: "ko", count: 3, loud: true, tags: ["a"] },
      errors: {},
    });
  });

  it("say what is missing or not JSON", () => {
    const values = { ...initialValues(fields), prompt: "  ", count: "1", tags: "[" };
    expect(readValues(fields, values).errors).toEqual({ prompt: "required", tags: "json" });
  });

  it("show the server's complaint at its field", () => {
    const errors = [{ where: ["body", "input", "prompt"], message: "too short" }, "rubbish", { where: [] }];
    expect(errorsOf({ errors })).toEqual({ prompt: { detail: "too short" } });
    expect(errorsOf({})).toEqual({});
  });
});

describe("results", () => {
  it("a film, its poster and files", () => {
    const files: Json[] = [{ name: "film.mp4", media_type: "video/mp4", size_bytes: 5 }, { nonsense: true }];
    const made = readResult({ video: "film.mp4", poster: "p.jpg", files, duration_s: 8.4 });
    expect(made).toMatchObject({ video: "film.mp4", poster: "p.jpg", scalars: [["duration_s", 8.4]] });
    expect(made.files.map((file) => file.name)).toEqual(["film.mp4"]);
  });

  it("a value is shown with its unit, and with a word for its key", () => {
    const labels = { duration: "Length" };
    expect(factOf("duration_s", 10.583, ENGLISH.units, labels)).toEqual(["Length", "10.6 s"]);
    expect(factOf("duration_s", 10.583, KOREAN.units, { duration: "길이" })).toEqual(["길이", "10.6초"]);
    expect(factOf("duration_s", 95, ENGLISH.units, labels)).toEqual(["Length", "1 m 35 s"]);
    expect(factOf("wait_ms", 480, ENGLISH.units)).toEqual(["Wait", "480 ms"]);
    expect(factOf("peak_memory_bytes", 5_300_000, ENGLISH.units)).toEqual(["Peak memory", "5.3 MB"]);
    expect(factOf("mean_score", 0.75, ENGLISH.units)).toEqual(["Mean score", "0.75"]);
    expect(factOf("is_good", true, ENGLISH.units)).toEqual(["Is good", "true"]);
    expect(factOf("takes_s", "long", ENGLISH.units)).toEqual(["Takes s", "long"]);
  });

  it("any other JSON stays what it is", () => {
    expect(readResult("done")).toMatchObject({ video: null, rest: "done", scalars: null });
    expect(readResult([1, 2])).toMatchObject({ rest: [1, 2] });
    expect(readResult({ deep: { a: 1 } })).toMatchObject({ rest: { deep: { a: 1 } }, scalars: null });
  });

  it("sizes", () =>
    expect([999, 1_500, 48_110, 1_284_201].map(bytes)).toEqual(["999 B", "1.5 kB", "48 kB", "1.3 MB"]));
});

describe("the timeline", () => {
  const step = { name: "s", status: "succeeded" as const, progress: 1, attempt: 1, weight: 1, error: null };
  const run = {
    ...unknownRun("r"),
    known: true,
    status: "running" as const,
    startedAt: 1_000,
    updatedAt: 2_000,
  };

  it("is as long as the run, up to now", () => {
    expect(spanOf(run, 5_000)).toEqual({ from: 1_000, to: 5_000 });
    expect(spanOf({ ...run, status: "succeeded", finishedAt: 3_000 }, 5_000)).toEqual({
      from: 1_000,
      to: 3_000,
    });
    expect(spanOf({ ...run, startedAt: null }, 5_000)).toBeNull();
  });

  it("keeps steps in sight when two clocks disagree", () => {
    const early = { ...step, startedAt: 400, finishedAt: 6_000 };
    const span = spanOf({ ...run, status: "succeeded", finishedAt: 3_000, steps: [early] }, 0);
    expect(span).toEqual({ from: 400, to: 6_000 });
    expect(span && laneOf(span, early.startedAt, early.finishedAt)).toEqual({
      fromPercent: 0,
      widthPercent: 100,
    });
  });

  it("a run without steps has the name of what it did, not of its end", () => {
    const named = (fields: Partial<RunState>): string => wholeRun({ ...run, ...fields }, "Run").name;
    expect(named({ state: "RENDERING" })).toBe("RENDERING");
    expect(named({ state: "STARTED" })).toBe("Run");
    expect(named({ state: "FAILED", status: "failed", endedIn: "RENDERING" })).toBe("RENDERING");
    expect(named({ state: "END", status: "succeeded", endedIn: "STARTED" })).toBe("Run");
    expect(named({ state: "END", status: "succeeded" })).toBe("Run");
  });

  it("only a first attempt was queued since the run was made", () => {
    const waited = { ...run, createdAt: 1_000, startedAt: 4_000 };
    expect([
      queuedMs(waited),
      queuedMs({ ...waited, attempt: 2 }),
      queuedMs({ ...waited, startedAt: 1_001 }),
    ]).toEqual([3_000, null, null]);
  });

  it("a step that has not begun has no place", () =>
    expect(laneOf({ from: 0, to: 10 }, null, null)).toBeNull());
});

it("the tab's icon fills with the run", () => {
  expect(faviconSvg("running", 0.5)).toContain('stroke-dasharray="37.7 99"');
  expect(faviconSvg("failed", 0.5)).toContain("<path");
  expect(faviconSvg("succeeded", 1)).not.toEqual(faviconSvg("failed", 1));
});

it("moments are said in the reader's language", () => {
  expect(ago(0, 3 * 60_000 + 5, "ko")).toBe("3분 전");
  expect(ago(10, 0, "en")).toBe("now");
});

import { describe, expect, it } from "vitest";
import { BACKOFF, retryDelayMs } from "./backoff.js";
import { CloseCode, isTerminalCode, retryInMsOf } from "./codes.js";
import { parseCursor, relate } from "./cursor.js";
import { remainingMs, withSample } from "./eta.js";
import { nextTransport, upgradeDelayMs } from "./fallback.js";
import { readFrame } from "./frames.js";
import { mergePatch } from "./mergePatch.js";
import { qualityOf } from "./quality.js";
import { matches, merge } from "./runList.js";
import type { ProgressSample, RunSummary } from "./types.js";
import { RelayUrls } from "./urls.js";

describe("backoff", () => {
  it("waits 1, 2, 5, 15, 15 … seconds, ten times, then no more", () => {
    const delays = Array.from({ length: 11 }, (_, index) => retryDelayMs(index + 1, 0.5));
    expect(delays).toEqual([1000, 2000, 5000, 15000, 15000, 15000, 15000, 15000, 15000, 15000, null]);
  });

  it("varies by a tenth either way and is never under half a second", () => {
    expect([retryDelayMs(1, 0), retryDelayMs(1, 1)]).toEqual([900, 1100]);
    expect(retryDelayMs(1, 0, { ...BACKOFF, stepsMs: [100] })).toBe(500);
  });

  it("takes the server's advice without jitter, but gives no more retries", () => {
    expect(retryDelayMs(1, 0, BACKOFF, 3_210)).toBe(3_210);
    expect(retryDelayMs(11, 0, BACKOFF, 3_210)).toBeNull();
  });
});

describe("close codes", () => {
  it("terminal codes are those that a retry would get again", () => {
    const terminal = Object.values(CloseCode).filter(isTerminalCode);
    expect(terminal).toEqual([
      CloseCode.FRAME_TOO_BIG,
      CloseCode.BAD_REQUEST,
      CloseCode.FORBIDDEN,
      CloseCode.NOT_A_RUN,
    ]);
  });

  it.each([
    ['{"retry_in_ms":1200}', 1200],
    ["going away", null],
    ["{broken", null],
    ['{"retry_in_ms":"soon"}', null],
    ['{"retry_in_ms":-5}', null],
    ["", null],
  ])("the reason %j advises %j", (reason, expected) => expect(retryInMsOf(reason)).toBe(expected));
});

describe("cursors", () => {
  it.each([
    ["a-1", "a-2", "next"],
    ["a-2", "a-2", "seen"],
    ["a-2", "a-1", "seen"],
    ["a-2", "a-4", "gap"],
    ["a-2", "b-3", "foreign"],
    ["0-0", "b-1", "next"],
    ["0-0", "b-7", "gap"],
    ["a-2", "nonsense", "foreign"],
  ])("from %s to %s is %s", (here, there, expected) => expect(relate(here, there)).toBe(expected));

  it("sequence numbers beyond two to the 31st are numbers too", () => {
    expect(parseCursor("k3x9m2p7q1za-5000000000")).toEqual({ epoch: "k3x9m2p7q1za", seq: 5_000_000_000 });
  });
});

describe("quality, by the thresholds of S2", () => {
  const facts = { connected: true, latencyMs: 50, silenceMs: 1_000, missed: 0 };
  it.each([
    [{}, "excellent"],
    [{ latencyMs: null }, "excellent"],
    [{ latencyMs: 100 }, "good"],
    [{ silenceMs: 35_000 }, "good"],
    [{ missed: 1 }, "good"],
    [{ latencyMs: 500 }, "poor"],
    [{ silenceMs: 40_000 }, "poor"],
    [{ missed: 2 }, "poor"],
    [{ latencyMs: 1_000 }, "critical"],
    [{ silenceMs: 60_000 }, "critical"],
    [{ missed: 3 }, "critical"],
    [{ connected: false }, "critical"],
  ])("%j is %s", (change, expected) => expect(qualityOf({ ...facts, ...change })).toBe(expected));
});

describe("the time left", () => {
  const line = (count: number, msEach: number, each: number): readonly ProgressSample[] =>
    Array.from({ length: count }, (_, n) => ({ ts: n * msEach, progress: n * each }));

  it("is null before there is enough progress", () => {
    expect(remainingMs([])).toBeNull();
    expect(remainingMs(line(2, 100, 0.1))).toBeNull();
  });

  it("is exact for a steady rate", () => expect(remainingMs(line(6, 1_000, 0.1))).toBe(5_000));

  it("is zero at the end", () =>
    expect(
      remainingMs([
        { ts: 0, progress: 0 },
        { ts: 5_000, progress: 1 },
      ]),
    ).toBe(0));

  it("grows when the rate drops", () => {
    const slowed = [...line(6, 1_000, 0.1), { ts: 25_000, progress: 0.7 }];
    expect(remainingMs(slowed)).toBeGreaterThan(remainingMs(line(8, 1_000, 0.1)) ?? 0);
  });

  it("counts down without rising where steps weigh as much as they take, give or take a fifth", () => {
    const steps = [
      { weight: 0.25, pace: 1.2 },
      { weight: 0.03, pace: 0.8 },
      { weight: 0.66, pace: 1 },
      { weight: 0.06, pace: 1.2 },
    ];
    let samples: readonly ProgressSample[] = [{ ts: 0, progress: 0 }];
    let at = { ts: 0, progress: 0 };
    let lowest = Number.POSITIVE_INFINITY;
    for (const { weight, pace } of steps)
      for (let n = 0; n < 20; n += 1) {
        at = { ts: at.ts + (weight / 20) * pace * 20_000, progress: Math.min(1, at.progress + weight / 20) };
        samples = withSample(samples, at);
        const left = remainingMs(samples);
        if (left === null) continue;
        expect(left).toBeLessThan(lowest + 250);
        lowest = Math.min(lowest, left);
      }
    expect(lowest).toBeLessThan(100);
  });

  it("a million samples take the memory of a few, and keep first and last", () => {
    let samples: readonly ProgressSample[] = [];
    for (let n = 0; n < 10_000; n += 1) samples = withSample(samples, { ts: n, progress: n / 10_000 });
    expect(samples.length).toBeLessThanOrEqual(49);
    expect([samples[0]?.ts, samples.at(-1)?.ts]).toEqual([0, 9_999]);
  });
});

describe("the transports", () => {
  const all = ["websocket", "sse", "polling"] as const;
  it("a transport that had carried frames is tried again first", () => {
    expect(nextTransport(all, { kind: "websocket", proven: true })).toEqual({
      kind: "websocket",
      counts: true,
    });
  });
  it("a transport that carried nothing falls back at once, not counted as a retry", () => {
    expect(nextTransport(all, { kind: "websocket", proven: false })).toEqual({ kind: "sse", counts: false });
    expect(nextTransport(all, { kind: "sse", proven: false })).toEqual({ kind: "polling", counts: false });
  });
  it("after the last transport comes the first one, after a wait", () => {
    expect(nextTransport(all, { kind: "polling", proven: false })).toEqual({
      kind: "websocket",
      counts: true,
    });
  });
  it("an upgrade is probed soon, then rarely", () =>
    expect([0, 1, 2, 3, 9].map(upgradeDelayMs)).toEqual([5_000, 15_000, 60_000, 300_000, 300_000]));
});

describe("frames", () => {
  it.each([
    "",
    "[]",
    "null",
    "17",
    "{",
    '{"type":"later"}',
    '{"type":"progress"}',
    '{"type":"progress","run_id":"r"}',
    '{"type":"run","run_id":5}',
  ])("%j is ignored, not an exception", (raw) => expect(readFrame(raw)).toBeNull());

  it("an unknown status is `unknown`, an unknown level is `info`", () => {
    const raw = JSON.stringify({
      type: "progress",
      run_id: "r",
      id: "a-1",
      seq: 1,
      status: "hibernating",
      level: "loud",
    });
    expect(readFrame(raw)).toMatchObject({ event: { status: "unknown", level: "info" } });
  });
});

describe("addresses", () => {
  it("encode run ids, follow the page's protocol and keep a path", () => {
    const urls = new RelayUrls("https://relay.example.com/live/", null);
    expect(urls.ws("/ws", { token: "a b" })).toBe("wss://relay.example.com/live/ws?token=a+b");
    expect(urls.http(urls.run("우주 고양이#1"))).toBe(
      `https://relay.example.com/live/api/runs/${encodeURIComponent("우주 고양이#1")}`,
    );
    expect(new RelayUrls("", "http://page:8000").ws("/ws")).toBe("ws://page:8000/ws");
  });
});

describe("merge patch", () => {
  // the examples of RFC 7386, appendix A, that have objects
  it.each([
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])("%j with %j is %j", (target, patch, merged) => {
    expect(mergePatch(target, patch)).toEqual(merged);
  });

  it("takes every name for a key, as the server does", () => {
    const patch = JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}');
    expect(JSON.stringify(mergePatch({}, patch))).toBe('{"__proto__":{"a":1},"constructor":2}');
    expect(JSON.stringify(mergePatch(patch, JSON.parse('{"__proto__": null}')))).toBe('{"constructor":2}');
  });
});

describe("the list", () => {
  const run = (runId: string, fields: Partial<RunSummary> = {}): RunSummary => ({
    runId,
    state: null,
    status: "running",
    progress: null,
    attempt: 1,
    seq: 1,
    cursor: "a-1",
    data: null,
    title: null,
    pipeline: "shorts",
    error: null,
    createdAt: 1,
    startedAt: null,
    updatedAt: null,
    finishedAt: null,
    endedIn: null,
    stale: false,
    ...fields,
  });

  it("filters as the server does", () => {
    expect(matches(run("a"), { status: "active" })).toBe(true);
    expect(matches(run("a", { status: "failed" }), { status: "active" })).toBe(false);
    expect(matches(run("a", { status: "unknown" }), { status: "active" })).toBe(false);
    expect(matches(run("a", { status: "failed" }), { status: "ended" })).toBe(true);
    expect(matches(run("a"), { status: "ended" })).toBe(false);
    expect(matches(run("a", { status: "failed" }), { status: "failed" })).toBe(true);
    expect(matches(run("a", { status: "failed" }), { status: "succeeded" })).toBe(false);
    expect(matches(run("a"), { pipeline: "scan" })).toBe(false);
    expect(matches(run("a", { title: "우주 고양이" }), { q: "고양이" })).toBe(true);
    expect(matches(run("ABC"), { q: "bc" })).toBe(true);
  });

  it("changes rows in place, puts new ones first, drops what no longer fits or was deleted", () => {
    const before = [run("a"), run("b"), run("c")];
    const changed = new Map<string, RunSummary | null>([
      ["a", run("a", { progress: 0.5 })],
      ["b", run("b", { status: "succeeded" })],
      ["c", null],
      ["new", run("new")],
      ["other", run("other", { status: "failed" })],
    ]);
    const merged = merge(before, changed, { status: "active" });
    expect(merged.map((item) => [item.runId, item.progress])).toEqual([
      ["new", null],
      ["a", 0.5],
    ]);
  });
});

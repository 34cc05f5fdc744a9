import { describe, expect, it } from "vitest";
import { EPOCH, initial, progress } from "../../test/scripted";
import type { ProgressEvent, Snapshot } from "./frames.js";
import { readEvent, readSnapshot } from "./frames.js";
import { applyEvents, applyLogDetails, applySnapshot, unknownRun } from "./reducer.js";
import type { RunState } from "./types.js";

const event = (seq: number, fields: Record<string, unknown> = {}): ProgressEvent => {
  const read = readEvent(progress(seq, fields));
  if (read === null) throw new Error("not an event");
  return read;
};
const snapshot = (seq: number, fields: Record<string, unknown> = {}): Snapshot => {
  const read = readSnapshot(initial(seq, fields));
  if (read === null) throw new Error("not a snapshot");
  return read;
};
const runAfter = (...events: ProgressEvent[]): RunState => applyEvents(unknownRun("r"), events).run;
const texts = (run: RunState) => run.logs.map((line) => line.message);

describe("events", () => {
  it("an unknown run begins with its first event", () => {
    const run = runAfter(event(1));
    expect(run).toMatchObject({
      known: true,
      seq: 1,
      cursor: `${EPOCH}-1`,
      status: "running",
      progress: 0.01,
    });
    expect(texts(run)).toEqual(["line 1"]);
  });

  it("an event that came already is dropped: two transports may carry the same event", () => {
    const run = runAfter(event(1), event(2));
    const again = applyEvents(run, [event(1), event(2), event(3)]);
    expect(texts(again.run)).toEqual(["line 1", "line 2", "line 3"]);
    expect(again.gap).toBe(false);
  });

  it("at a gap the fold stops: no event after it is shown before the missing ones", () => {
    const folded = applyEvents(runAfter(event(1)), [event(2), event(4), event(5)]);
    expect(folded.gap).toBe(true);
    expect(folded.run.seq).toBe(2);
  });

  it("an event of another log is a gap, not a continuation", () => {
    const folded = applyEvents(runAfter(event(1)), [event(2, { id: "otherepoch01-2" })]);
    expect(folded).toMatchObject({ gap: true, run: { seq: 1 } });
  });

  it("a first event that is not the first of its log is a gap", () => {
    expect(applyEvents(unknownRun("r"), [event(3)])).toMatchObject({ gap: true, run: { known: false } });
  });

  it("an event without a message adds no log line", () => {
    expect(runAfter(event(1, { message: "" })).logs).toEqual([]);
  });

  it("the log is bounded, and the dropped lines are counted", () => {
    const run = applyEvents(
      unknownRun("r"),
      [1, 2, 3, 4, 5].map((seq) => event(seq)),
      3,
    ).run;
    expect(texts(run)).toEqual(["line 3", "line 4", "line 5"]);
    expect(run.logsTruncated).toBe(2);
  });

  it("keys of log lines are unique and grow, also after lines were dropped", () => {
    let run = unknownRun("r");
    for (let seq = 1; seq <= 9; seq += 1) run = applyEvents(run, [event(seq)], 4).run;
    const keys = run.logs.map((line) => line.key);
    expect(keys).toEqual([...new Set(keys)].sort((a, b) => a - b));
    expect(keys.at(-1)).toBe(8);
  });

  it("an event's data is merged into the run's: null removes a key; a snapshot replaces it", () => {
    const run = runAfter(
      event(1, { data: { a: 1, b: { c: 2 } } }),
      event(2, { data: { a: null, b: { d: 3 } } }),
      event(3),
    );
    expect(run.data).toEqual({ b: { c: 2, d: 3 } });
    const ignored = applyEvents(run, [event(4, { data: { huge: true }, data_ignored: true })]).run;
    expect(ignored.data).toEqual({ b: { c: 2, d: 3 } });
    expect(applySnapshot(unknownRun("r"), snapshot(4, { data: { x: 1 } })).data).toEqual({ x: 1 });
  });

  it("an ended run says in which state it has ended: where it failed", () => {
    const working = runAfter(event(1, { state: "RENDERING" }));
    const failed = applyEvents(working, [event(2, { state: "FAILED", status: "failed" })]).run;
    expect([working.endedIn, failed.endedIn]).toEqual([null, "RENDERING"]);
    const told = snapshot(2, { state: "FAILED", status: "failed", ended_in: "RENDERING" });
    expect(applySnapshot(unknownRun("r"), told).endedIn).toBe("RENDERING");
    const again = event(3, { attempt: 2, status: "queued", state: "QUEUED", progress: null });
    expect(applyEvents(failed, [again]).run.endedIn).toBeNull();
  });

  it("result and error belong to the attempt that made them", () => {
    const failed = runAfter(
      event(1),
      event(2, { state: "FAILED", status: "failed", error: "boom", result: { a: 1 } }),
    );
    expect(failed).toMatchObject({ error: "boom", result: { a: 1 }, finishedAt: 1_002_000 });
    const again = applyEvents(failed, [
      event(3, { attempt: 2, status: "queued", progress: null, state: "QUEUED" }),
    ]).run;
    expect(again).toMatchObject({
      attempt: 2,
      error: null,
      result: null,
      progress: null,
      finishedAt: null,
      startedAt: null,
    });
    expect(again.samples).toEqual([]);
    expect(texts(again)).toHaveLength(3);
  });
});

describe("steps", () => {
  const declared = event(1, {
    steps: [
      { name: "plan", weight: 2 },
      { name: "render", weight: 1 },
    ],
  });

  it("a declaration queues the steps", () => {
    expect(runAfter(declared).steps.map((step) => [step.name, step.status, step.weight])).toEqual([
      ["plan", "queued", 2],
      ["render", "queued", 1],
    ]);
  });

  it("an event with a step carries that step's progress and times", () => {
    const run = runAfter(
      declared,
      event(2, { step: "plan", step_status: "running", step_progress: 0.5 }),
      event(3, { step: "plan", step_status: "succeeded" }),
    );
    expect(run.steps[0]).toMatchObject({
      status: "succeeded",
      progress: 1,
      startedAt: 1_002_000,
      finishedAt: 1_003_000,
    });
  });

  it("a second declaration adds new steps and keeps those that have started", () => {
    const steps = [
      { name: "plan", weight: 1 },
      { name: "draw", weight: 3 },
    ];
    const first = { steps: steps.slice(0, 1), step: "plan", step_status: "running", step_progress: 0.5 };
    const run = runAfter(event(1, first), event(2, { steps, step: "draw", step_status: "running" }));
    expect(run.steps.map(({ name, status, progress, weight }) => [name, status, progress, weight])).toEqual([
      ["plan", "running", 0.5, 1],
      ["draw", "running", null, 3],
    ]);
    const again = event(3, { attempt: 2, status: "queued", steps: [{ name: "other", weight: 1 }] });
    expect(applyEvents(run, [again]).run.steps.map(({ name }) => name)).toEqual(["other"]);
  });

  it("a step's error is the step's, not the run's", () => {
    const run = runAfter(event(1, { step: "plan", step_status: "failed", error: "boom" }));
    expect([run.steps[0]?.error, run.error]).toEqual(["boom", null]);
  });

  it("a step without a declaration appears with its first event", () => {
    const run = runAfter(event(1, { step: "extra", step_status: "running" }));
    expect(run.steps.map((step) => step.name)).toEqual(["extra"]);
  });

  it("at most a thousand steps are kept, as in the run log", () => {
    const events = Array.from({ length: 1200 }, (_, n) =>
      event(n + 1, { step: `s${n}`, step_status: "running" }),
    );
    const { run } = applyEvents(runAfter(), events);
    expect(run.steps.length).toBe(1000);
    expect([run.seq, run.steps.at(-1)?.name]).toEqual([1200, "s999"]);
  });

  it("a step's retry starts the step again", () => {
    const run = runAfter(
      declared,
      event(2, { step: "plan", step_status: "running", step_progress: 0.9, step_attempt: 1 }),
      event(3, { step: "plan", step_status: "running", step_attempt: 2 }),
    );
    expect(run.steps[0]).toMatchObject({ attempt: 2, progress: null, startedAt: 1_003_000 });
  });

  it("a new attempt of the run queues every step again", () => {
    const run = runAfter(
      declared,
      event(2, { step: "plan", step_status: "succeeded" }),
      event(3, { attempt: 2 }),
    );
    expect(run.steps.map((step) => step.status)).toEqual(["queued", "queued"]);
  });

  it("when a run is cancelled its running steps are cancelled, its queued ones are not", () => {
    const run = runAfter(
      declared,
      event(2, { step: "plan", step_status: "running" }),
      event(3, { state: "CANCELLED", status: "cancelled" }),
    );
    expect(run.steps.map((step) => step.status)).toEqual(["cancelled", "queued"]);
  });
});

describe("snapshots", () => {
  it("replace the whole run", () => {
    const run = applySnapshot(unknownRun("r"), snapshot(3, { title: "A film" }));
    expect(run).toMatchObject({ known: true, seq: 3, title: "A film" });
    expect(texts(run)).toEqual(["line 1", "line 2", "line 3"]);
  });

  it("an older snapshot of the same log is ignored, as of a slow poll", () => {
    const run = runAfter(event(1), event(2), event(3));
    expect(applySnapshot(run, snapshot(2))).toBe(run);
  });

  it("a snapshot of another log replaces a longer log: the server has lost that one", () => {
    const run = applySnapshot(
      runAfter(event(1), event(2), event(3)),
      snapshot(1, { id: "otherepoch01-1", logs: ["new"] }),
    );
    expect(run).toMatchObject({ seq: 1, cursor: "otherepoch01-1" });
    expect(texts(run)).toEqual(["new"]);
  });

  it("a run that the server says is unknown is `known`; before the first frame it is not", () => {
    expect(unknownRun("r").known).toBe(false);
    const nobody = applySnapshot(unknownRun("r"), snapshot(0, { status: "unknown", id: "0-0" }));
    expect(nobody).toMatchObject({ known: true, status: "unknown", stale: false });
    expect(applySnapshot(nobody, snapshot(0, { status: "unknown", id: "0-0" }))).toBe(nobody);
    expect(applyEvents(nobody, [event(1)])).toMatchObject({ run: { seq: 1 }, gap: false });
  });

  it("when the log has expired, the last state stays, marked as stale", () => {
    const run = applySnapshot(
      runAfter(event(1, { status: "succeeded", state: "END" })),
      snapshot(0, { status: "unknown", id: "0-0", seq: 0, logs: [] }),
    );
    expect(run).toMatchObject({ status: "succeeded", stale: true, seq: 1 });
  });

  it("log details add level and time, and keep the lines that arrived meanwhile", () => {
    const run = applyEvents(applySnapshot(unknownRun("r"), snapshot(2)), [event(3)]).run;
    const lines = [1, 2].map((seq) => ({
      seq,
      ts: seq,
      level: "warning",
      step: "plan",
      message: `line ${seq}`,
    }));
    const detailed = applyLogDetails(run, snapshot(2, { log_lines: lines }));
    expect(detailed.logs.map((line) => [line.message, line.level])).toEqual([
      ["line 1", "warning"],
      ["line 2", "warning"],
      ["line 3", "info"],
    ]);
    expect(new Set(detailed.logs.map((line) => line.key)).size).toBe(3);
  });
});

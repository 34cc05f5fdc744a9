import { describe, expect, it } from "vitest";
import { progress } from "../../../test/scripted";
import { readEvent } from "../../core/frames.js";
import type { LogLine, RunStatusName, Step } from "../../react/index";
import { attemptOf, beginningsOf } from "../log/beginnings";
import { ofStep } from "../log/search";

import { stepInSight } from "./stepInSight";

const step = (status: RunStatusName, startedAt: number | null): Step => ({
  name: `${status} ${startedAt}`,
  status,
  progress: null,
  attempt: 1,
  weight: 1,
  startedAt,
  finishedAt: null,
  error: null,
});
const line = (fields: Partial<LogLine>): LogLine => ({
  key: 0,
  seq: 1,
  ts: 1,
  level: "info",
  step: null,
  attempt: null,
  message: "",
  ...fields,
});

describe("the step that is scrolled to", () => {
  const failed = step("failed", 1);
  const done = step("succeeded", 9);

  it.each([
    ["began last", [step("running", 5), step("running", 7), step("running", 6), step("queued", null)], 1],
    ["runs, not one that has failed", [failed, step("running", 5)], 1],
    ["has failed first", [done, failed, failed], 1],
  ])("%s", (_, steps, index) => expect(stepInSight(steps)).toBe(index));

  it("there is none when all is well, or nothing has begun", () => {
    expect(stepInSight([done, done])).toBe(-1);
    expect(stepInSight([step("queued", null)])).toBe(-1);
    expect(stepInSight([])).toBe(-1);
  });
});

it("a log has the lines of one step, or all", () => {
  const lines = [line({ step: "a" }), line({ step: null }), line({ step: "b" })];
  expect(ofStep(lines, null)).toBe(lines);
  expect(ofStep(lines, "b")).toEqual([lines[2]]);
});

it("a line is of the attempt whose first event is before it", () => {
  const events = [
    progress(10, {}),
    progress(11, { status: "failed" }),
    progress(20, { attempt: 2 }),
    progress(30, { attempt: 3 }),
    progress(31, { attempt: 3 }),
  ].flatMap((frame) => readEvent(frame) ?? []);
  const attempts = beginningsOf(events);
  expect(attempts).toEqual([1, 2, 3].map((attempt) => ({ attempt, seq: attempt * 10 })));
  const found = [10, 19, 20, 35].map((seq) => attemptOf(line({ seq }), attempts));
  expect(found).toEqual([1, 1, 2, 3]);
  expect(attemptOf(line({ seq: 10, attempt: 7 }), attempts)).toBe(7);
  expect([line({ seq: null }), line({ seq: 9 }), undefined].map((one) => attemptOf(one, attempts))).toEqual([
    null,
    null,
    null,
  ]);
});

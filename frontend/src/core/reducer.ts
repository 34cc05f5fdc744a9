/**
 * What is known of a run, folded from what the server sent. Pure.
 *
 * This is one of the two axes of a client's state; what is known of the connection is the other (connection.ts).
 * Nothing here depends on how a frame arrived, so a run can change its transport in the middle.
 */

import { relate, START } from "./cursor.js";
import { withSample } from "./eta.js";
import type { ProgressEvent, Snapshot, WireLogLine } from "./frames.js";
import { mergePatch } from "./mergePatch.js";
import type { LogLine, RunState, Step } from "./types.js";
import { isEnded } from "./types.js";

export const MAX_LOG_LINES = 20_000;

export function unknownRun(runId: string): RunState {
  return {
    runId,
    known: false,
    state: null,
    status: "unknown",
    progress: null,
    attempt: 1,
    seq: 0,
    cursor: START,
    title: null,
    pipeline: null,
    error: null,
    createdAt: null,
    startedAt: null,
    updatedAt: null,
    finishedAt: null,
    stale: false,
    steps: [],
    logs: [],
    logsTruncated: 0,
    result: null,
    data: null,
    recovered: true,
    samples: [],
  };
}

export interface Folded {
  readonly run: RunState;
  /** Something is missing between what we have and what came: ask again with our cursor. */
  readonly gap: boolean;
  /** Those of the events that were new, in order. */
  readonly applied: readonly ProgressEvent[];
}

/** Events in the order in which they came. Doubles are dropped; at a hole the fold stops and says so. */
export function applyEvents(
  run: RunState,
  events: readonly ProgressEvent[],
  maxLogLines = MAX_LOG_LINES,
): Folded {
  let next = run;
  const fresh: LogLine[] = [];
  const applied: ProgressEvent[] = [];
  let key = (run.logs.at(-1)?.key ?? -1) + 1;
  let gap = false;
  for (const event of events) {
    const relation = relate(next.cursor, event.cursor);
    if (relation === "seen") continue;
    if (relation !== "next") {
      gap = true;
      break;
    }
    if (event.message !== "") {
      const { seq, ts, level, step, attempt, message } = event;
      fresh.push({ key: key++, seq, ts, level, step, attempt, message });
    }
    next = applyEvent(next, event);
    applied.push(event);
  }
  if (fresh.length > 0) next = withLogs(next, [...run.logs, ...fresh], maxLogLines);
  return { run: next, gap, applied };
}

function applyEvent(run: RunState, event: ProgressEvent): RunState {
  const restarted = event.attempt > run.attempt;
  const ended = isEnded(event.status);
  const steps = foldSteps(run, event, restarted);
  const samples = restarted ? [] : run.samples;
  return {
    ...run,
    known: true,
    state: event.state,
    status: event.status,
    progress: event.progress,
    attempt: event.attempt,
    seq: event.seq,
    cursor: event.cursor,
    title: event.title ?? run.title,
    pipeline: event.pipeline ?? run.pipeline,
    // A new attempt begins without the old one's outcome.
    error:
      (event.step === null ? event.error : null) ??
      (restarted || event.status === "succeeded" ? null : run.error),
    result: event.result !== undefined ? event.result : restarted ? null : run.result,
    data: event.data === null || event.dataIgnored ? run.data : mergePatch(run.data, event.data),
    createdAt: run.createdAt ?? event.ts,
    startedAt:
      event.status === "running" && (restarted || run.startedAt === null)
        ? event.ts
        : restarted
          ? null
          : run.startedAt,
    updatedAt: event.ts,
    finishedAt: ended ? event.ts : null,
    stale: false,
    steps: ended && event.status !== "succeeded" ? steps.map((step) => cutShort(step, event.ts)) : steps,
    samples:
      event.progress === null ? samples : withSample(samples, { ts: event.ts, progress: event.progress }),
  };
}

function foldSteps(run: RunState, event: ProgressEvent, restarted: boolean): readonly Step[] {
  let steps = run.steps;
  if (restarted) steps = (event.steps ?? steps).map(({ name, weight }) => queuedStep(name, weight));
  // Within an attempt a declaration adds and weighs: what has begun goes on.
  for (const { name, weight } of event.steps ?? []) {
    steps = withStep(steps, name).map((step) => (step.name === name ? { ...step, weight } : step));
  }
  const name = event.step;
  if (name === null) return steps;
  steps = withStep(steps, name);
  return steps.map((step) => (step.name === name ? foldStep(step, event) : step));
}

/** The run log keeps so many steps of a run, and a page that watches for long must not keep more. */
const MAX_STEPS = 1000;

function withStep(steps: readonly Step[], name: string): readonly Step[] {
  if (steps.length >= MAX_STEPS || steps.some((step) => step.name === name)) return steps;
  return [...steps, queuedStep(name, 1)];
}

function queuedStep(name: string, weight: number): Step {
  return {
    name,
    weight,
    status: "queued",
    progress: null,
    attempt: 1,
    startedAt: null,
    finishedAt: null,
    error: null,
  };
}

function foldStep(step: Step, event: ProgressEvent): Step {
  const status = event.stepStatus ?? step.status;
  const repeated = event.stepAttempt !== null && event.stepAttempt > step.attempt;
  const started = status !== "queued" && status !== "unknown";
  return {
    ...step,
    status,
    attempt: event.stepAttempt ?? step.attempt,
    progress: event.stepProgress ?? (status === "succeeded" ? 1 : repeated ? null : step.progress),
    startedAt: started ? (repeated ? event.ts : (step.startedAt ?? event.ts)) : null,
    finishedAt: isEnded(status) ? (step.finishedAt ?? event.ts) : null,
    error: status === "failed" ? (event.error ?? step.error) : repeated ? null : step.error,
  };
}

/** A step that was under way when its run ended badly did not finish; it was cut off. */
function cutShort(step: Step, ts: number): Step {
  if (step.status === "queued" || isEnded(step.status)) return step;
  return { ...step, status: "cancelled", finishedAt: ts };
}

/**
 * An initial state or polled snapshot takes the place of everything, with two exceptions: an older one of the
 * same log is ignored, and a run that was seen to end is not forgotten when its log has expired.
 */
export function applySnapshot(run: RunState, snapshot: Snapshot, maxLogLines = MAX_LOG_LINES): RunState {
  if (snapshot.status === "unknown" && run.known) {
    // The log is gone: what we last saw stays on the screen, marked.
    return run.status === "unknown" ? run : { ...run, stale: true };
  }
  const relation = relate(run.cursor, snapshot.cursor);
  const sameLog = run.known && relation !== "foreign" && run.cursor !== START;
  if (sameLog && relation === "seen" && snapshot.seq < run.seq) return run;
  const { logs, logLines, ...rest } = snapshot;
  const next: RunState = {
    ...run,
    ...rest,
    known: true,
    samples: samplesOf(sameLog && run.attempt === snapshot.attempt ? run : null, snapshot),
  };
  // What we already show of the same log, up to the same event, is at least as good: keep keys and details.
  if (sameLog && snapshot.seq === run.seq && logLines === null && run.logs.length >= logs.length) {
    return { ...next, logs: run.logs, logsTruncated: run.logsTruncated };
  }
  const lines =
    logLines !== null ? logLines.map(fromWire) : logs.map((message) => fromWire({ seq: null, message }));
  const first = run.logs.length > 0 ? (run.logs.at(-1)?.key ?? -1) + 1 : 0;
  return withLogs(
    next,
    lines.map((line, index) => ({ ...line, key: first + index })),
    maxLogLines,
  );
}

/** Level, time and step of lines that an initial state brought as text only, from the polled snapshot. */
export function applyLogDetails(run: RunState, snapshot: Snapshot, maxLogLines = MAX_LOG_LINES): RunState {
  if (snapshot.logLines === null || relate(run.cursor, snapshot.cursor) === "foreign") return run;
  const later = run.logs.filter((line) => line.seq !== null && line.seq > snapshot.seq);
  const detailed = snapshot.logLines.filter((line) => line.seq <= run.seq).map(fromWire);
  // Lines older than what the server still has stay as they are: without details is better than not at all.
  const firstSeq = snapshot.logLines[0]?.seq ?? Number.POSITIVE_INFINITY;
  const older = run.logs.filter((line) => line.seq !== null && line.seq < firstSeq);
  const first = (run.logs[0]?.key ?? 0) + older.length;
  const lines = [...older, ...detailed, ...later].map((line, index) => ({
    ...line,
    key: index < older.length ? line.key : first + (index - older.length),
  }));
  return withLogs(
    { ...run, logsTruncated: older.length > 0 ? run.logsTruncated : snapshot.logsTruncated },
    lines,
    maxLogLines,
  );
}

function fromWire(
  line: Partial<Omit<WireLogLine, "seq">> & { seq: number | null; message: string },
): LogLine {
  return {
    key: 0,
    seq: line.seq,
    ts: line.ts ?? null,
    level: line.level ?? null,
    step: line.step ?? null,
    attempt: null,
    message: line.message,
  };
}

function samplesOf(run: RunState | null, snapshot: Snapshot): RunState["samples"] {
  const { progress, startedAt, updatedAt } = snapshot;
  const samples = run?.samples ?? [];
  if (progress === null || startedAt === null || updatedAt === null) return samples;
  // After a refresh the start and the present are all there is, and already give a first estimate.
  return withSample(samples.length > 0 ? samples : [{ ts: startedAt, progress: 0 }], {
    ts: updatedAt,
    progress,
  });
}

function withLogs(run: RunState, logs: readonly LogLine[], maxLogLines: number): RunState {
  const surplus = logs.length - maxLogLines;
  if (surplus <= 0) return { ...run, logs };
  return { ...run, logs: logs.slice(surplus), logsTruncated: run.logsTruncated + surplus };
}

/**
 * The run's axis of the client's state, folded from the server's frames. Pure.
 *
 * The other axis is the connection's (connectionState.ts). Nothing here depends on the transport, so the transport may
 * change in the middle of a run.
 */

import { relate, START } from "./cursor.js";
import { withSample } from "./eta.js";
import type { ProgressEvent } from "./fields.js";
import { keepLast, NO_SUMMARY } from "./fields.js";
import type { Snapshot, WireLogLine } from "./frames.js";
import { mergePatch } from "./mergePatch.js";
import type { LogLine, RunState, Step } from "./types.js";
import { isEnded } from "./types.js";

export const MAX_LOG_LINES = 20_000;

export function unknownRun(runId: string): RunState {
  return {
    ...NO_SUMMARY,
    runId,
    cursor: START,
    known: false,
    steps: [],
    logs: [],
    logsTruncated: 0,
    logsTrimmed: 0,
    result: null,
    recovered: true,
    samples: [],
  };
}

export interface Folded {
  readonly run: RunState;
  /** There is a gap between the run and the events: subscribe again with the run's cursor. */
  readonly gap: boolean;
  /** The new ones of the events, in order. */
  readonly applied: readonly ProgressEvent[];
}

/** The run after these events, in their order. An event that was seen already is dropped; at a gap the fold stops. */
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
    ...keepLast(run, event),
    // A new attempt begins without the outcome of the last one.
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
    endedIn: !ended || restarted ? null : isEnded(run.status) ? run.endedIn : run.state,
    stale: false,
    steps: ended && event.status !== "succeeded" ? steps.map((step) => cutShort(step, event.ts)) : steps,
    samples:
      event.progress === null ? samples : withSample(samples, { ts: event.ts, progress: event.progress }),
  };
}

function foldSteps(run: RunState, event: ProgressEvent, restarted: boolean): readonly Step[] {
  let steps = run.steps;
  if (restarted) steps = (event.steps ?? steps).map(({ name, weight }) => queuedStep(name, weight));
  // Within an attempt a declaration only adds steps and sets weights: steps that have started go on.
  for (const { name, weight } of event.steps ?? []) {
    steps = withStep(steps, name).map((step) => (step.name === name ? { ...step, weight } : step));
  }
  const name = event.step;
  if (name === null) return steps;
  steps = withStep(steps, name);
  return steps.map((step) => (step.name === name ? foldStep(step, event) : step));
}

/** The limit of the run log. Also a page that watches for a long time must not keep more steps. */
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

/** A step that was running when its run failed or was cancelled counts as cancelled. */
function cutShort(step: Step, ts: number): Step {
  if (step.status === "queued" || isEnded(step.status)) return step;
  return { ...step, status: "cancelled", finishedAt: ts };
}

/**
 * An initial state or a polled snapshot replaces the run. There are two exceptions: an older snapshot of the same log
 * is ignored, and a known run is kept, marked as stale, when its log has expired.
 */
export function applySnapshot(run: RunState, snapshot: Snapshot, maxLogLines = MAX_LOG_LINES): RunState {
  if (snapshot.status === "unknown" && run.known) {
    // The log is gone: the last known state stays on the screen, marked as stale.
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
  // The lines here are of the same log, up to the same event: keep them, because they have keys and details.
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

/** Adds level, time and step to lines that an initial state brought as text only. They come from a polled snapshot. */
export function applyLogDetails(run: RunState, snapshot: Snapshot, maxLogLines = MAX_LOG_LINES): RunState {
  if (snapshot.logLines === null || relate(run.cursor, snapshot.cursor) === "foreign") return run;
  const later = run.logs.filter((line) => line.seq !== null && line.seq > snapshot.seq);
  const detailed = snapshot.logLines.filter((line) => line.seq <= run.seq).map(fromWire);
  // The server no longer has these older lines: keep them without details.
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
  // After a page reload only the start and the present are known: enough for a first estimate.
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

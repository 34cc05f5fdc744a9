// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { IDLE } from "../core/connectionState.js";
import { unknownRun } from "../core/reducer.js";
import { STATUSES } from "../core/types.js";
import { EndAnnouncement } from "./EndAnnouncement.js";
import type { LogLine } from "./index.js";
import {
  ConnectionBadge,
  ENGLISH,
  isIndeterminate,
  KOREAN,
  LogTail,
  RetryPanel,
  RunProgress,
  StepTimeline,
} from "./index.js";

const unknownLine: LogLine = {
  key: 0,
  seq: null,
  ts: null,
  level: null,
  step: null,
  attempt: null,
  message: "",
};

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
});
afterEach(cleanup);

describe("components", () => {
  it("RunProgress has a value only when the run has progress", () => {
    const run = { ...unknownRun("r"), known: true, status: "running" as const };
    const { rerender } = render(<RunProgress run={run} />);
    const bar = screen.getByRole("progressbar", { name: "Progress" });
    expect(bar.getAttribute("aria-valuenow")).toBeNull();
    expect(bar.getAttribute("aria-valuetext")).toBe("Running");
    rerender(<RunProgress run={{ ...run, progress: 0.456 }} etaMs={42_000} />);
    expect(bar.getAttribute("aria-valuenow")).toBe("45");
    expect(screen.getByText("about 45 s left")).toBeTruthy();
    rerender(<RunProgress run={{ ...run, progress: 0.9999 }} />);
    expect(screen.getByText("99%")).toBeTruthy();
  });

  it("progress is indeterminate for a run at work that does not say how far it is, and for no other", () => {
    const without = STATUSES.filter((status) => isIndeterminate({ status, progress: null }));
    expect(without).toEqual(["running", "retrying", "stalled"]);
    expect(STATUSES.filter((status) => isIndeterminate({ status, progress: 0 }))).toEqual([]);
    const { container } = render(
      <RunProgress run={{ ...unknownRun("r"), status: "running" }}>
        <b>beside</b>
      </RunProgress>,
    );
    expect(container.querySelectorAll("[role=progressbar][data-indeterminate]")).toHaveLength(1);
    expect(container.textContent).toBe("…beside");
  });

  it("LogTail stops following at the reader's wheel, and follows again at the end", () => {
    const logs = [1, 2].map((key) => ({ ...unknownLine, key, message: `m${key}` }));
    const { rerender } = render(<LogTail logs={logs.slice(0, 1)} />);
    const box = screen.getByRole("log");
    const size = { scrollHeight: 100, clientHeight: 100 };
    for (const name of ["scrollHeight", "clientHeight"] as const)
      Object.defineProperty(box, name, { get: () => size[name] });
    // It fits into its box: there is no way to scroll back to the end.
    fireEvent.wheel(box, { deltaY: -10 });
    size.scrollHeight = 300;
    rerender(<LogTail logs={logs} />);
    expect(box.scrollTop).toBe(300);
    fireEvent.wheel(box, { deltaY: -10 });
    box.scrollTop = 100;
    rerender(<LogTail logs={[...logs, { ...unknownLine, key: 3 }]} />);
    expect(box.scrollTop).toBe(100);
    box.scrollTop = 200;
    fireEvent.scroll(box);
    expect(box.scrollTop).toBe(300);
  });

  it("LogTail announces a line at most every five seconds, and always the last one", () => {
    const line = (key: number): LogLine => ({
      key,
      seq: key,
      ts: key,
      level: "info",
      step: null,
      attempt: 1,
      message: `line ${key}`,
    });
    const { rerender } = render(<LogTail logs={[line(1)]} />);
    const region = screen.getByRole("status");
    const heard = new Set<string>();
    for (let n = 2; n <= 101; n += 1) {
      rerender(<LogTail logs={[line(n)]} />);
      act(() => vi.advanceTimersByTime(100));
      heard.add(region.textContent ?? "");
    }
    expect(heard.size).toBeLessThanOrEqual(4);
    act(() => vi.advanceTimersByTime(5_000));
    expect(region.textContent).toBe("line 101");
    expect(region.getAttribute("aria-live")).toBe("polite");
  });

  it("LogTail shows how many lines are not shown", () => {
    const logs = Array.from({ length: 5 }, (_, key) => ({
      key,
      seq: key,
      ts: key,
      level: null,
      step: null,
      attempt: null,
      message: `m${key}`,
    }));
    render(<LogTail logs={logs} lines={2} truncated={10} />);
    expect(screen.getByText("13 earlier lines not shown")).toBeTruthy();
    expect(screen.queryByText("m2")).toBeNull();
  });

  it("StepTimeline has the status in words, not only a colour", () => {
    const step = { attempt: 2, weight: 1, startedAt: 1_000, finishedAt: 4_200, error: null, progress: 1 };
    render(<StepTimeline steps={[{ ...step, name: "plan", status: "succeeded" }]} words={KOREAN} />);
    expect(screen.getByRole("img", { name: "완료" })).toBeTruthy();
    expect(screen.getByText("3.2초")).toBeTruthy();
    expect(screen.getByText("×2")).toBeTruthy();
  });

  it("StepTimeline with a time scale shows when each step ran, and the message of an error", () => {
    const step = { status: "queued" as const, attempt: 1, weight: 1, progress: null, error: null };
    const { container } = render(
      <StepTimeline
        span={{ from: 1_000, to: 5_000 }}
        steps={[
          {
            ...step,
            name: "plan",
            status: "failed",
            startedAt: 1_000,
            finishedAt: 2_000,
            error: "Traceback (most recent call last):\n  a\nboom\n",
          },
          { ...step, name: "render", status: "running", startedAt: 2_000, finishedAt: null, progress: 0.5 },
          { ...step, name: "qa", startedAt: null, finishedAt: null },
        ]}
      />,
    );
    const lanes = [...container.querySelectorAll<HTMLElement>(".rr-lane-bar")];
    expect(lanes.map(({ style }) => style.left)).toEqual(["0%", "25%"]);
    const rows = [...container.querySelectorAll(".rr-step")].map((row) => row.textContent);
    expect(rows).toEqual(["plan1.0 sboom", "render50%", "qa"]);
  });

  it("the end is said politely, a failure at once, and an end that was there before not at all", () => {
    const text = (status: string) => `r: ${status}`;
    const { container, rerender } = render(<EndAnnouncement status="running" text={text} />);
    const said = () =>
      [...container.children].map((region) => `${region.getAttribute("role")} ${region.textContent}`);
    expect(said()).toEqual(["status "]);
    rerender(<EndAnnouncement status="succeeded" text={text} />);
    expect(said()).toEqual(["status r: succeeded"]);
    rerender(<EndAnnouncement status="queued" text={text} />);
    expect(said()).toEqual(["status "]);
    rerender(<EndAnnouncement status="failed" text={text} />);
    expect(said()).toEqual(["status ", "alert r: failed"]);
    cleanup();
    const old = render(<EndAnnouncement status="unknown" text={text} />);
    old.rerender(<EndAnnouncement status="failed" text={text} />);
    expect(old.container.textContent).toBe("");
  });

  it("ConnectionBadge has transport, quality and latency in words", () => {
    const statistics = { ...IDLE.statistics, latencyMs: 12.4 };
    const { container } = render(
      <ConnectionBadge
        connection={{ ...IDLE, status: "connected", transport: "sse", quality: "good", statistics }}
        compact
      />,
    );
    expect(container.textContent).toBe("Live · Event stream · good · 12 ms");
    expect(container.querySelectorAll("[data-on=true]")).toHaveLength(2);
  });

  it("RetryPanel counts down, explains and retries; while connected it renders nothing", () => {
    const retry = vi.fn();
    const waiting = {
      ...IDLE,
      retry,
      status: "reconnecting" as const,
      attempt: 3,
      retryInMs: 5_000,
      retryAt: Date.now() + 5_000,
      error: { code: null, message: "the connection was lost" },
    };
    const { rerender, container } = render(<RetryPanel connection={waiting} />);
    act(() => vi.advanceTimersByTime(2_000));
    expect(container.textContent).toContain("Try 3");
    expect(container.textContent).toContain("Trying again in 3 s");
    expect(container.textContent).toContain("the connection was lost");
    act(() => screen.getByRole("button", { name: "Retry now" }).click());
    expect(retry).toHaveBeenCalledOnce();
    rerender(
      <RetryPanel
        connection={{ ...waiting, retryAt: null, retryInMs: null, status: "failed", attempt: 10 }}
        compact
      />,
    );
    expect(container.textContent).toContain("Connection failed");
    expect(container.textContent).not.toContain("the connection was lost");
    rerender(<RetryPanel connection={{ ...waiting, status: "connected" }} />);
    expect(container.textContent).toBe("");
  });

  it("RetryPanel never shows more than the wait, also after an old clock tick", () => {
    const waiting = () => ({
      ...IDLE,
      retry: () => {},
      status: "reconnecting" as const,
      attempt: 1,
      retryInMs: 5_000,
      retryAt: Date.now() + 5_000,
    });
    const said = vi.fn((time: string) => time);
    const words = { ...ENGLISH, retryIn: said };
    render(<RetryPanel connection={waiting()} words={words} />).unmount();
    act(() => vi.advanceTimersByTime(60_000));
    said.mockClear();
    render(<RetryPanel connection={waiting()} words={words} />);
    expect(new Set(said.mock.calls.map(([time]) => time))).toEqual(new Set(["5 s"]));
  });
});

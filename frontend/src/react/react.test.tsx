// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, renderHook, screen } from "@testing-library/react";
import type { ReactNode } from "react";
import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, expectTypeOf, it, vi } from "vitest";
import { initial, progress, ScriptedBrowser } from "../../test/scripted";
import { IDLE } from "../core/connectionState.js";
import { unknownRun } from "../core/reducer.js";
import { STATUSES } from "../core/types.js";
import type { LogLine, RunStatusName, UseRun } from "./index.js";
import {
  ConnectionBadge,
  ENGLISH,
  isIndeterminate,
  KOREAN,
  LogTail,
  RelayClient,
  RelayProvider,
  RetryPanel,
  RunProgress,
  RunStatus,
  StepTimeline,
  useRun,
  useRuns,
} from "./index.js";

let browser: ScriptedBrowser;
let client: RelayClient;
const inside = ({ children }: { children: ReactNode }) => (
  <StrictMode>
    <RelayProvider client={client}>{children}</RelayProvider>
  </StrictMode>
);
const receive = (frame: Record<string, unknown>) =>
  act(() => {
    browser.socket.receive(frame);
    vi.advanceTimersByTime(33);
  });
const unknownLine: LogLine = {
  key: 0,
  seq: null,
  ts: null,
  level: null,
  step: null,
  attempt: null,
  message: "",
};
const ended = { state: "END", status: "succeeded", progress: 1 };

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
  browser = new ScriptedBrowser();
  client = new RelayClient({ environment: browser.environment });
});
afterEach(() => {
  cleanup();
  client.close();
});

describe("useRun", () => {
  it("a run is live, with one socket under StrictMode", () => {
    const { result } = renderHook(() => useRun("r"), { wrapper: inside });
    act(() => browser.socket.open());
    receive(initial(2));
    receive(progress(3));
    expect(browser.sockets).toHaveLength(1);
    expect(browser.socket.subscriptions()).toEqual(["r"]);
    expect(result.current).toMatchObject({ status: "running", isStale: false, lastEventAt: 1_003_000 });
    expect(result.current.logs.map((line) => line.message)).toEqual(["line 1", "line 2", "line 3"]);
    expect(result.current.etaMs).toBeGreaterThan(0);
  });

  it("onComplete is called once: not again for StrictMode, a new callback, a remount or a lost connection", () => {
    const onComplete = vi.fn();
    const onFailed = vi.fn();
    const watch = () => useRun("r", { onComplete: (run) => onComplete(run.status), onFailed });
    const view = renderHook(watch, { wrapper: inside });
    act(() => browser.socket.open());
    receive(initial(1));
    act(() => browser.socket.drop());
    act(() => vi.advanceTimersByTime(1_000));
    act(() => browser.socket.open());
    receive(progress(2, ended));
    receive({ type: "end", run_id: "r" });
    view.rerender();
    view.unmount();
    renderHook(watch, { wrapper: inside });
    act(() => vi.advanceTimersByTime(10_000));
    expect(onComplete.mock.calls).toEqual([["succeeded"]]);
    expect(onFailed).not.toHaveBeenCalled();
  });

  it("onFailed is called for a failure", () => {
    const onFailed = vi.fn();
    renderHook(() => useRun("r", { onFailed: (run) => onFailed(run.error) }), { wrapper: inside });
    act(() => browser.socket.open());
    receive(initial(1, { state: "FAILED", status: "failed", error: "boom" }));
    expect(onFailed.mock.calls).toEqual([["boom"]]);
  });

  it("calls the callback of the latest render", () => {
    const first = vi.fn();
    const second = vi.fn();
    const { rerender } = renderHook(({ done }) => useRun("r", { onComplete: done }), {
      wrapper: inside,
      initialProps: { done: first },
    });
    rerender({ done: second });
    act(() => browser.socket.open());
    receive(initial(1, ended));
    expect([first.mock.calls.length, second.mock.calls.length]).toEqual([0, 1]);
  });

  it("isStale is true while the state may be old, and false again afterwards", () => {
    const { result } = renderHook(() => useRun("r"), { wrapper: inside });
    act(() => browser.socket.open());
    receive(initial(1));
    receive({ type: "upstream", status: "down" });
    expect(result.current.isStale).toBe(true);
    receive({ type: "upstream", status: "up" });
    expect(result.current.isStale).toBe(false);
    act(() => browser.socket.drop());
    expect(result.current).toMatchObject({
      isStale: true,
      connection: { status: "reconnecting", attempt: 1 },
    });
  });

  it("a new runId changes the run, and null watches nothing", () => {
    const { result, rerender } = renderHook(({ id }) => useRun(id), {
      wrapper: inside,
      initialProps: { id: "r" as string | null },
    });
    act(() => browser.socket.open());
    receive(initial(1));
    rerender({ id: null });
    expect(result.current.run.known).toBe(false);
    rerender({ id: "other" });
    expect(browser.socket.subscriptions()).toEqual(["r", "other"]);
    expect(result.current.run).toMatchObject({ runId: "other", known: false });
  });

  it("no socket, timer or listener is left after the last component", () => {
    const { unmount } = renderHook(() => useRun("r"), { wrapper: inside });
    act(() => browser.socket.prove());
    unmount();
    vi.advanceTimersByTime(5_000);
    expect([browser.socket.closedByUs, browser.listenerCount, vi.getTimerCount()]).toEqual([true, 0, 0]);
  });

  it("has the types that its documentation says", () => {
    expectTypeOf<UseRun["status"]>().toEqualTypeOf<RunStatusName>();
    expectTypeOf<UseRun["logs"]>().toEqualTypeOf<readonly LogLine[]>();
    expectTypeOf<UseRun["etaMs"]>().toEqualTypeOf<number | null>();
    expectTypeOf(useRun).parameter(0).toEqualTypeOf<string | null>();
    // @ts-expect-error a run id is needed
    useRun satisfies () => UseRun;
  });
});

it("useRuns: a filter that is a new object on each render is the same list", async () => {
  const { result, rerender } = renderHook(() => useRuns({ status: "active" }), { wrapper: inside });
  rerender();
  await act(() => vi.advanceTimersByTimeAsync(0));
  const lists = browser.requests.filter((request) => request.url.includes("status=active"));
  expect(lists).toHaveLength(1);
  await act(
    () =>
      lists[0]?.answer(200, { runs: [{ run_id: "a", status: "running" }], next_cursor: "x" }) ??
      Promise.resolve(),
  );
  expect(result.current).toMatchObject({ status: "ready", hasMore: true, runs: [{ runId: "a" }] });
});

it("useRuns: a list of ended runs keeps its rows when the feed tells of a run that ends", async () => {
  const { result } = renderHook(() => useRuns({ status: "ended" }), { wrapper: inside });
  act(() => browser.socket.prove());
  await act(() => vi.advanceTimersByTimeAsync(0));
  const row = { run_id: "a", status: "failed", seq: 1, id: "e1-1" };
  for (const { url, answer } of browser.requests)
    if (url.includes("status=ended")) await act(() => answer(200, { runs: [row], next_cursor: null }));
  expect(result.current.runs).toHaveLength(1);
  act(() => {
    browser.socket.receive({ type: "run", ...row, seq: 2, id: "e1-2", title: "A film" });
    browser.socket.receive({ type: "run", run_id: "b", status: "succeeded", seq: 1, id: "e2-1" });
    browser.socket.receive({ type: "run", run_id: "c", status: "running", seq: 1, id: "e3-1" });
    vi.advanceTimersByTime(50);
  });
  expect(result.current.runs.map(({ runId, title }) => [runId, title])).toEqual([
    ["b", null],
    ["a", "A film"],
  ]);
});

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

  it("StepTimeline with a time scale shows when each step ran, and the last line of an error", () => {
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
            error: "a\nboom\n",
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

  it("RunStatus is a live run in one line", () => {
    render(<RunStatus runId="r" />, { wrapper: inside });
    act(() => browser.socket.open());
    receive(
      initial(3, {
        title: "A film",
        steps: [
          {
            name: "plan",
            status: "running",
            progress: 0.5,
            attempt: 1,
            weight: 1,
            started_at: 1,
            finished_at: null,
            error: null,
          },
        ],
      }),
    );
    expect(screen.getByRole("region", { name: "A film" })).toBeTruthy();
    expect(screen.getByRole("progressbar").getAttribute("aria-valuenow")).toBe("3");
    expect(screen.getByText("plan")).toBeTruthy();
    expect(screen.getByText("line 3", { selector: ".rr-log-line" })).toBeTruthy();
  });

  it("RunStatus renders on a server, without a connection", () => {
    const html = renderToString(
      <RelayProvider client={client}>
        <RunStatus runId="우주 고양이" />
      </RelayProvider>,
    );
    expect(html).toContain("우주 고양이");
    expect(html).toContain("Not started");
    expect(browser.sockets).toHaveLength(0);
  });
});

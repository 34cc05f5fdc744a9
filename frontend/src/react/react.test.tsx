// @vitest-environment happy-dom
import { act, cleanup, render, renderHook, screen } from "@testing-library/react";
import type { ReactNode } from "react";
import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, expectTypeOf, it, vi } from "vitest";
import { initial, progress, ScriptedBrowser } from "../../test/scripted";
import type { LogLine, RunStatusName, UseRun } from "./index.js";
import { KOREAN, RelayClient, RelayProvider, RunStatus, useRun, useRuns } from "./index.js";

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
    expectTypeOf(useRun).parameter(0).toEqualTypeOf<string | null | undefined>();
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

describe("RunStatus", () => {
  it("is a live run in one line", () => {
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

  it("shows people the message of an error, not its traceback, and a word for the end", async () => {
    const error =
      'Traceback (most recent call last):\n  File "/srv/app/tasks.py", line 4\nValueError: no such city\n';
    const { rerender } = render(<RunStatus runId="r" client={client} words={KOREAN} />);
    receive({
      type: "initial_state",
      run_id: "r",
      state: "FAILED",
      status: "failed",
      error,
      logs: [],
      id: "abcdefghijkl-1",
    });
    expect(screen.getByText("ValueError: no such city")).toBeTruthy();
    expect(document.body.textContent).not.toContain("/srv/app");
    expect(document.body.textContent).not.toContain("FAILED");
    expect(document.querySelector(".rr-run-state")?.textContent).toBe("실패");
    rerender(<RunStatus runId="r" client={client} traceback />);
    expect(document.body.textContent).toContain("/srv/app");
  });

  it("tells an unknown run from one that was not heard of yet", () => {
    render(<RunStatus runId="r" client={client} />);
    expect(document.querySelector(".rr-run-state")?.textContent).toBe("Loading");
    receive({ type: "initial_state", run_id: "r", status: "unknown", logs: [], seq: 0, id: "0-0" });
    expect(document.querySelector(".rr-run-state")?.textContent).toBe("No such run");
  });

  it("a server renders the run that it has fetched; the page shows it until the first frame", () => {
    const initialRun = {
      run_id: "r",
      title: "A film",
      state: "RENDERING",
      status: "running",
      progress: 0.5,
      seq: 4,
      id: "e1-4",
      logs: ["line 4"],
    };
    const shown = <RunStatus runId="r" client={client} initialRun={initialRun} />;
    const html = renderToString(shown);
    for (const text of ["A film", "RENDERING", "50%", "line 4"]) expect(html).toContain(text);
    render(shown);
    expect(screen.getByText("50%")).toBeTruthy();
    receive({ ...initial(9), run_id: "r", title: "A film", progress: 0.75, status: "running" });
    expect(screen.getByText("75%")).toBeTruthy();
    cleanup();
    render(<RunStatus runId="another" client={client} initialRun={initialRun} />);
    expect(document.body.textContent).not.toContain("A film");
  });

  it("without an id nothing is watched", () => {
    const { result } = renderHook(() => useRun(undefined, { client }));
    expect(result.current.status).toBe("unknown");
    expect(browser.sockets).toHaveLength(0);
  });

  it("renders on a server, without a connection", () => {
    const html = renderToString(
      <RelayProvider client={client}>
        <RunStatus runId="우주 고양이" />
      </RelayProvider>,
    );
    expect(html).toContain("우주 고양이");
    expect(html).toContain("Loading");
    expect(html).not.toContain("No such run");
    expect(browser.sockets).toHaveLength(0);
  });
});

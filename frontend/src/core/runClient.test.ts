import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EPOCH, initial, progress, ScriptedBrowser } from "../../test/scripted";
import { RelayClient } from "./relayClient.js";

let browser: ScriptedBrowser;
let client: RelayClient;

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
  browser = new ScriptedBrowser();
  client = new RelayClient({ environment: browser.environment });
});
afterEach(() => client.close());

const ended = { state: "END", status: "succeeded", progress: 1 };

describe("outcomes", () => {
  it("are reported once, for a terminal state from the server", () => {
    const told = vi.fn();
    const run = client.run("r");
    run.onOutcome(told);
    run.subscribe(() => {});
    browser.socket.open();
    browser.socket.receive(initial(1));
    expect(told).not.toHaveBeenCalled();
    browser.socket.receive(progress(2, ended));
    vi.advanceTimersByTime(33);
    browser.socket.receive(progress(2, ended));
    browser.socket.receive({ type: "end", run_id: "r" });
    vi.advanceTimersByTime(33);
    expect(told.mock.calls.map(([outcome]) => outcome.status)).toEqual(["succeeded"]);
  });

  it("are never reported for a lost connection", () => {
    const told = vi.fn();
    const run = client.run("r");
    run.onOutcome(told);
    run.subscribe(() => {});
    browser.socket.open();
    browser.socket.receive(initial(1));
    browser.socket.drop();
    vi.advanceTimersByTime(3_600_000);
    expect(told).not.toHaveBeenCalled();
  });

  it("are reported again for the next attempt, and not to a later listener", () => {
    const told = vi.fn();
    const late = vi.fn();
    const run = client.run("r");
    run.onOutcome(told);
    run.subscribe(() => {});
    browser.socket.open();
    browser.socket.receive(initial(1, ended));
    run.onOutcome(late);
    browser.socket.receive(progress(2, { attempt: 2, status: "queued", state: "QUEUED", progress: null }));
    browser.socket.receive(progress(3, { attempt: 2, status: "failed", state: "FAILED", error: "boom" }));
    vi.advanceTimersByTime(33);
    expect(told.mock.calls.map(([outcome]) => outcome.status)).toEqual(["succeeded", "failed"]);
    expect(late.mock.calls.map(([outcome]) => outcome.status)).toEqual(["failed"]);
  });
});

describe("the end", () => {
  it("closes this run's subscription and keeps its state", () => {
    const run = client.run("r");
    run.subscribe(() => {});
    browser.socket.open();
    browser.socket.receive(initial(2, ended));
    browser.socket.receive({ type: "end", run_id: "r" });
    expect(run.state.connection).toMatchObject({ status: "closed", error: null });
    expect(run.state.run).toMatchObject({ status: "succeeded", seq: 2 });
  });

  it("a retry subscribes again, from the cursor", async () => {
    const run = client.run("r");
    run.subscribe(() => {});
    browser.socket.open();
    browser.socket.receive(initial(2, ended));
    browser.socket.receive({ type: "end", run_id: "r" });
    const retried = run.retry();
    await vi.advanceTimersByTimeAsync(0);
    expect([browser.request.method, browser.request.url]).toEqual(["POST", "http://page/api/runs/r/retry"]);
    await browser.request.answer(202, { run_id: "r", attempt: 2 });
    await retried;
    expect(browser.socket.sent.at(-1)).toEqual({ type: "subscribe", run_id: "r", after: `${EPOCH}-2` });
  });

  it("a new subscriber of an ended run asks whether it was started again", async () => {
    const run = client.run("r");
    client.run("other").subscribe(() => {});
    const leave = run.subscribe(() => {});
    browser.socket.prove();
    browser.socket.receive(initial(2, ended));
    browser.socket.receive({ type: "end", run_id: "r" });
    leave();
    await vi.advanceTimersByTimeAsync(5_000);
    run.subscribe(() => {});
    expect(browser.socket.sent.at(-1)).toEqual({ type: "subscribe", run_id: "r", after: `${EPOCH}-2` });
    browser.socket.receive(progress(3, { attempt: 2, status: "running" }));
    await vi.advanceTimersByTimeAsync(33);
    expect(run.state).toMatchObject({ run: { status: "running", attempt: 2 } });
  });

  it("another client's retry is seen by the feed", () => {
    const leave = client.stayConnected();
    const run = client.run("r");
    run.subscribe(() => {});
    browser.socket.open();
    browser.socket.receive(initial(2, ended));
    browser.socket.receive({ type: "end", run_id: "r" });
    browser.socket.receive({
      type: "run",
      run_id: "r",
      status: "queued",
      attempt: 2,
      id: `${EPOCH}-3`,
      seq: 3,
    });
    expect(browser.socket.sent.at(-1)).toMatchObject({ type: "subscribe", run_id: "r" });
    leave();
  });
});

it("a refused cancel is an error with the server's words", async () => {
  const cancelled = client.run("r").cancel();
  const outcome = expect(cancelled).rejects.toMatchObject({
    name: "RelayError",
    status: 409,
    message: "the run has ended",
  });
  await vi.advanceTimersByTimeAsync(0);
  await browser.request.answer(409, { title: "Conflict", detail: "the run has ended" });
  await outcome;
});

it("log details are fetched once for lines of an initial state", async () => {
  client = new RelayClient({ environment: browser.environment, logDetails: true });
  const run = client.run("r");
  run.subscribe(() => {});
  browser.socket.open();
  browser.socket.receive(initial(1));
  await vi.advanceTimersByTimeAsync(0);
  expect(browser.requests).toHaveLength(1);
  const log_lines = [{ seq: 1, ts: 5, level: "error", step: "plan", message: "line 1" }];
  await browser.request.answer(200, { ...initial(1), log_lines });
  expect(run.state.run.logs).toMatchObject([{ level: "error", step: "plan", ts: 5 }]);
});

it("a thousand events at once are a few renders", async () => {
  const rendered = vi.fn();
  client.run("r").subscribe(rendered);
  browser.socket.open();
  browser.socket.receive(initial(0, { seq: 0, id: "0-0", status: "unknown" }));
  rendered.mockClear();
  for (let seq = 1; seq <= 1_000; seq += 1) browser.socket.receive(progress(seq));
  await vi.advanceTimersByTimeAsync(33);
  expect(client.run("r").state.run.logs).toHaveLength(1_000);
  expect(rendered.mock.calls.length).toBeLessThanOrEqual(2);
});

describe("the list", () => {
  const summary = (run_id: string, fields = {}) => ({
    run_id,
    status: "running",
    id: `${EPOCH}-1`,
    seq: 1,
    attempt: 1,
    ...fields,
  });
  const ids = () => client.runs().state.runs.map((run) => run.runId);

  it("is fetched, then follows the feed", async () => {
    client.runs().subscribe(() => {});
    await vi.advanceTimersByTimeAsync(0);
    await browser.request.answer(200, { runs: [summary("a")], next_cursor: null });
    browser.socket.prove();
    await vi.advanceTimersByTimeAsync(0);
    await browser.request.answer(200, { runs: [summary("a")], next_cursor: null });
    expect(browser.socket.sent.at(-1)).toEqual({ type: "subscribe", runs: true });
    browser.socket.receive({ type: "run", ...summary("b") });
    browser.socket.receive({ type: "run_deleted", run_id: "a" });
    await vi.advanceTimersByTimeAsync(50);
    expect(ids()).toEqual(["b"]);
    expect(client.runs().state.status).toBe("ready");
  });

  it("is fetched again after every time without the feed: the feed has no cursor", async () => {
    client.runs().subscribe(() => {});
    browser.socket.prove();
    await vi.advanceTimersByTimeAsync(0);
    const before = browser.requests.length;
    await browser.request.answer(200, { runs: [], next_cursor: null });
    browser.socket.receive({ type: "upstream", status: "down" });
    browser.socket.receive({ type: "upstream", status: "up" });
    await vi.advanceTimersByTimeAsync(0);
    expect(browser.requests).toHaveLength(before + 1);
    await browser.request.answer(200, { runs: [summary("a")], next_cursor: null });
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(1_000);
    browser.socket.prove();
    await vi.advanceTimersByTimeAsync(0);
    expect(browser.requests).toHaveLength(before + 2);
  });

  it("polls where there is no WebSocket", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    client = new RelayClient({ environment: browser.environment });
    client.runs().subscribe(() => {});
    await vi.advanceTimersByTimeAsync(0);
    await browser.request.answer(200, { runs: [summary("a")], next_cursor: null });
    await vi.advanceTimersByTimeAsync(500); // the fallback to polling, which pings the relay
    await browser.request.answer(200, { runs: [], next_cursor: null });
    const before = browser.requests.length;
    await vi.advanceTimersByTimeAsync(4_000);
    expect(browser.requests.length).toBeGreaterThan(before);
    expect(browser.streams).toHaveLength(0);
  });

  it("a change from the feed during a fetch is newer than the fetched page", async () => {
    client.runs().subscribe(() => {});
    browser.socket.prove();
    await vi.advanceTimersByTimeAsync(0);
    browser.socket.receive({
      type: "run",
      ...summary("a", { status: "succeeded", seq: 9, id: `${EPOCH}-9` }),
    });
    browser.socket.receive({ type: "run_deleted", run_id: "b" });
    await vi.advanceTimersByTimeAsync(50);
    await browser.request.answer(200, { runs: [summary("a"), summary("b")], next_cursor: null });
    expect(client.runs().state.runs).toMatchObject([{ runId: "a", status: "succeeded" }]);
  });

  it("a change that is older than the page is ignored", async () => {
    client.runs().subscribe(() => {});
    browser.socket.prove();
    await vi.advanceTimersByTimeAsync(0);
    browser.socket.receive({ type: "run", ...summary("a") });
    await vi.advanceTimersByTimeAsync(50);
    const newer = summary("a", { status: "succeeded", seq: 9, id: `${EPOCH}-9` });
    await browser.request.answer(200, { runs: [newer], next_cursor: null });
    expect(client.runs().state.runs).toMatchObject([{ runId: "a", status: "succeeded" }]);
  });

  it("a refresh fetches as many rows as were shown", async () => {
    const list = client.runs();
    list.subscribe(() => {});
    await vi.advanceTimersByTimeAsync(0);
    await browser.request.answer(200, { runs: [summary("a")], next_cursor: "2" });
    const more = list.loadMore();
    await vi.advanceTimersByTimeAsync(0);
    await browser.request.answer(200, { runs: [summary("b")], next_cursor: "3" });
    await more;
    const refreshed = list.refresh();
    await vi.advanceTimersByTimeAsync(0);
    await browser.request.answer(200, { runs: [summary("a")], next_cursor: "2" });
    await vi.advanceTimersByTimeAsync(0);
    expect(browser.request.url).toContain("cursor=2");
    await browser.request.answer(200, { runs: [summary("b")], next_cursor: "3" });
    await refreshed;
    expect([ids(), list.state.nextCursor]).toEqual([["a", "b"], "3"]);
  });

  it("keeps its rows when a refresh fails", async () => {
    const list = client.runs();
    list.subscribe(() => {});
    await vi.advanceTimersByTimeAsync(0);
    await browser.request.answer(200, { runs: [summary("a")], next_cursor: null });
    const refreshed = list.refresh();
    await vi.advanceTimersByTimeAsync(0);
    await browser.request.fail();
    await refreshed;
    expect(list.state).toMatchObject({ status: "ready", error: { message: "the relay cannot be reached" } });
    expect(ids()).toEqual(["a"]);
  });
});

it("onEvent is called once for every event, in order, at any rate", async () => {
  const seen: number[] = [];
  const run = client.run("r");
  run.subscribe(() => {});
  run.onEvent((event) => seen.push(event.seq));
  browser.socket.prove();
  browser.socket.receive(initial(1));
  for (let seq = 2; seq <= 101; seq += 1) browser.socket.receive(progress(seq));
  for (const seq of [100, 101]) browser.socket.receive(progress(seq)); // events that came already, as two transports bring them
  await vi.advanceTimersByTimeAsync(33);
  expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => index + 2));
});

it("many runs on one page are all live, also two subscribers of one run", async () => {
  // as React does: all stores are made while rendering and subscribed to afterwards
  const runs = Array.from({ length: 60 }, (_, index) => client.run(`r${index}`));
  for (const run of runs) run.subscribe(() => {});
  const again = client.run("r0");
  again.subscribe(() => {});
  browser.socket.prove();
  browser.socket.receive(initial(1, { run_id: "r0" }));
  await vi.advanceTimersByTimeAsync(33);
  expect([runs[0]?.state.run.seq, again.state.run.seq]).toEqual([1, 1]);
});

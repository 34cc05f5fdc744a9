import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EPOCH, initial, progress, ScriptedBrowser } from "../../test/scripted";
import { CloseCode } from "./codes.js";
import { closeOf } from "./polling.js";
import { RelayError } from "./problem.js";
import type { RelayClientOptions } from "./relayClient.js";
import { RelayClient } from "./relayClient.js";

let browser: ScriptedBrowser;
let client: RelayClient;

function watch(runId = "r", options: RelayClientOptions = {}): () => void {
  client = new RelayClient({ environment: browser.environment, ...options });
  return client.run(runId).subscribe(() => {});
}
const status = () => client.connection.status;
const state = (runId = "r") => client.run(runId).state;
const texts = (runId = "r") => state(runId).run.logs.map((line) => line.message);
/** Let pending promises settle, without advancing the clock. */
const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
  browser = new ScriptedBrowser();
});
afterEach(() => client.close());

describe("WebSocket", () => {
  const only = { transports: ["websocket"] } as const;

  it("connects with the first subscriber, not before", () => {
    client = new RelayClient({ environment: browser.environment });
    client.run("r");
    expect([browser.sockets.length, status()]).toEqual([0, "idle"]);
    client.run("r").subscribe(() => {});
    expect([browser.socket.url, status()]).toEqual(["ws://page/ws", "connecting"]);
  });

  it("the initial state is shown, then each event at once or within 33 ms", async () => {
    watch();
    browser.socket.open();
    expect(browser.socket.sent).toEqual([{ type: "ping" }, { type: "subscribe", run_id: "r" }]);
    browser.socket.receive(initial(2));
    browser.socket.receive(progress(3));
    browser.socket.receive(progress(4));
    await vi.advanceTimersByTimeAsync(33);
    expect(texts()).toEqual(["line 1", "line 2", "line 3", "line 4"]);
    expect(state().connection).toMatchObject({ status: "connected", transport: "websocket" });
  });

  it("a new connection forgets the upstream state of the last one", async () => {
    watch("r", only);
    browser.socket.prove();
    browser.socket.receive(initial(1));
    browser.socket.receive({ type: "upstream", status: "down" });
    expect(client.connection.upstream).toBe("down");
    browser.socket.drop(1012, '{"retry_in_ms": 700}');
    await vi.advanceTimersByTimeAsync(700);
    browser.socket.prove();
    browser.socket.receive({ type: "resumed", run_id: "r", id: `${EPOCH}-1` });
    expect(client.connection).toMatchObject({ status: "connected", upstream: "up" });
  });

  it("a first frame that says upstream down is believed", () => {
    watch("r", only);
    browser.socket.open();
    browser.socket.receive({ type: "upstream", status: "down" });
    browser.socket.receive({ type: "pong" });
    expect(client.connection).toMatchObject({ status: "connected", upstream: "down" });
  });

  it("a new subscriber after all retries failed has all retries again", async () => {
    const leave = watch("r", only);
    for (let turn = 0; turn < 40 && status() !== "failed"; turn += 1) {
      browser.socket.drop();
      await vi.advanceTimersByTimeAsync(16_500);
    }
    expect(status()).toBe("failed");
    leave();
    await vi.advanceTimersByTimeAsync(3_000);
    expect(status()).toBe("idle");
    client.run("r").subscribe(() => {});
    expect(client.connection).toMatchObject({ status: "connecting", attempt: 0 });
    browser.socket.drop();
    expect(client.connection).toMatchObject({ status: "reconnecting", attempt: 1 });
  });

  it("a run that fails in the relay is subscribed again with backoff, ten times at most", async () => {
    watch("r", only);
    browser.socket.prove();
    for (let failure = 1; failure <= 11; failure += 1) {
      expect(browser.socket.subscriptions()).toHaveLength(failure);
      browser.socket.receive({ type: "error", code: 1011, message: "unexpected", run_id: "r" });
      await vi.advanceTimersByTimeAsync(33);
      const { status, retryInMs } = state().connection;
      if (failure > 10) expect(status).toBe("closed");
      else expect(retryInMs).toBeGreaterThanOrEqual(failure < 4 ? 900 : 13_500);
      await vi.advanceTimersByTimeAsync(retryInMs ?? 60_000);
    }
    expect(browser.socket.subscriptions()).toHaveLength(11);
  });

  it("a key that is not a run (4409) is not subscribed again", async () => {
    watch("r", only);
    browser.socket.prove();
    browser.socket.receive({ type: "error", code: 4409, message: "no run", run_id: "r" });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(state().connection).toMatchObject({ status: "closed", error: { code: 4409 } });
    expect(browser.socket.subscriptions()).toEqual(["r"]);
  });

  it("a run refused with 4429 shows the error, and is subscribed again", async () => {
    watch("r", only);
    browser.socket.prove();
    browser.socket.receive({ type: "error", code: 4429, message: "too many watch this run", run_id: "r" });
    await vi.advanceTimersByTimeAsync(33);
    expect(state().connection).toMatchObject({
      status: "reconnecting",
      retryInMs: 5_000,
      error: { code: 4429, message: "too many watch this run" },
    });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(browser.socket.subscriptions()).toEqual(["r", "r"]);
    browser.socket.receive(initial(1));
    await vi.advanceTimersByTimeAsync(33);
    expect(state().connection).toMatchObject({ status: "connected", error: null });
  });

  it("a person's retry subscribes a refused run again", async () => {
    watch("r", only);
    browser.socket.prove();
    browser.socket.receive({ type: "error", code: 4403, message: "not for you", run_id: "r" });
    await vi.advanceTimersByTimeAsync(33);
    expect(state().connection).toMatchObject({ status: "closed", error: { message: "not for you" } });
    client.run("r").reconnect();
    expect(browser.socket.subscriptions()).toEqual(["r", "r"]);
    expect(state().connection).toMatchObject({ status: "connected" });
  });

  it("a token source that fails once is asked again at the next retry", async () => {
    let fails = false;
    const token = vi.fn(async () => {
      if (fails) throw new TypeError("failed to fetch");
      return `t${token.mock.calls.length}`;
    });
    watch("r", { ...only, token });
    await settle();
    browser.socket.prove();
    browser.socket.receive(initial(1));
    fails = true;
    browser.socket.drop(CloseCode.UNAUTHORIZED);
    await settle();
    expect(client.connection).toMatchObject({
      status: "reconnecting",
      error: { message: "the token source failed" },
    });
    fails = false;
    await vi.advanceTimersByTimeAsync(1_000);
    browser.socket.drop(CloseCode.UNAUTHORIZED); // the old token, refused again
    await settle();
    expect(browser.socket.url).toBe("ws://page/ws?token=t3");
    browser.socket.prove();
    expect(status()).toBe("connected");
  });

  it("one socket carries any number of runs", () => {
    watch("a");
    const stop = client.run("b").subscribe(() => {});
    client.run("c").subscribe(() => {});
    browser.socket.prove();
    expect(browser.sockets).toHaveLength(1);
    expect(browser.socket.subscriptions()).toEqual(["a", "b", "c"]);
    stop();
    vi.advanceTimersByTime(1_000);
    expect(browser.socket.sent.at(-1)).toEqual({ type: "unsubscribe", run_id: "b" });
  });

  it("latency is the round trip of a ping", () => {
    watch();
    browser.socket.open();
    vi.advanceTimersByTime(80);
    browser.socket.receive({ type: "pong" });
    expect(client.connection.statistics).toMatchObject({ latencyMs: 80, averageLatencyMs: 80 });
  });

  it("a ping is sent every 25 s, and the peer is dead after 45 s without a frame", () => {
    watch("r", only);
    browser.socket.prove();
    const first = browser.socket;
    vi.advanceTimersByTime(25_000);
    expect(first.sent.filter((frame) => frame.type === "ping")).toHaveLength(2);
    vi.advanceTimersByTime(19_999);
    expect(status()).toBe("connected");
    vi.advanceTimersByTime(1);
    expect([status(), first.closedByUs]).toEqual(["reconnecting", true]);
  });

  it("any frame keeps the connection alive", () => {
    watch("r", only);
    browser.socket.prove();
    for (let n = 0; n < 10; n += 1) {
      vi.advanceTimersByTime(20_000);
      browser.socket.receive({ type: "pong" });
    }
    expect([status(), browser.sockets.length]).toEqual(["connected", 1]);
  });

  it("an unanswered ping counts as missed and lowers the quality", () => {
    watch("r", { ...only, connection: {} });
    browser.socket.prove();
    vi.advanceTimersByTime(36_000);
    expect(client.connection.quality).toBe("good");
    browser.socket.receive({ type: "pong" });
    vi.advanceTimersByTime(5_000);
    expect(client.connection.quality).toBe("critical"); // the answer took eleven seconds
  });

  it("reconnects after 1, 2, 5, 15 … s with the cursor; after ten retries a person decides", () => {
    watch("r", only);
    browser.socket.open();
    browser.socket.receive(initial(3));
    const waits: (number | null)[] = [];
    for (let n = 0; n < 10; n += 1) {
      browser.socket.drop();
      waits.push(client.connection.retryInMs);
      vi.advanceTimersByTime(client.connection.retryInMs ?? 0);
      browser.socket.open();
    }
    expect(waits).toEqual([1000, 2000, 5000, 15000, 15000, 15000, 15000, 15000, 15000, 15000]);
    expect(browser.socket.sent.at(-1)).toEqual({ type: "subscribe", run_id: "r", after: `${EPOCH}-3` });
    browser.socket.drop();
    expect([status(), browser.sockets.length]).toEqual(["failed", 11]);
    vi.advanceTimersByTime(600_000);
    expect(browser.sockets).toHaveLength(11);
    client.reconnect();
    expect([status(), browser.sockets.length]).toEqual(["connecting", 12]);
    browser.socket.open();
    browser.socket.receive({ type: "resumed", run_id: "r", id: `${EPOCH}-3` });
    expect(status()).toBe("connected");
    expect(texts()).toEqual(["line 1", "line 2", "line 3"]);
  });

  it("the retry count is reset only after the connection was healthy for 10 s", () => {
    watch("r", only);
    const again = (heldMs: number) => {
      browser.socket.prove();
      vi.advanceTimersByTime(heldMs);
      browser.socket.drop();
      const wait = client.connection.retryInMs ?? 0;
      vi.advanceTimersByTime(wait);
      return wait;
    };
    expect([again(0), again(9_000), again(9_000), again(10_000), again(0)]).toEqual([
      1000, 2000, 5000, 1000, 2000,
    ]);
  });

  it("after 4408 (too slow) the retry count is reset after 30 s", () => {
    watch("r", only);
    const again = (heldMs: number) => {
      browser.socket.prove();
      vi.advanceTimersByTime(heldMs);
      browser.socket.drop(CloseCode.TOO_SLOW);
      const wait = client.connection.retryInMs ?? 0;
      vi.advanceTimersByTime(wait);
      return wait;
    };
    expect([again(0), again(20_000), again(29_000), again(30_000)]).toEqual([1000, 2000, 5000, 1000]);
  });

  it("the server's retry_in_ms replaces the backoff", () => {
    watch("r", only);
    browser.socket.prove();
    browser.socket.drop(CloseCode.SERVICE_RESTART, '{"retry_in_ms":4321}');
    expect(client.connection.retryInMs).toBe(4321);
  });

  it("too many connections (4429): retries later, over the same transport", () => {
    watch();
    browser.socket.open();
    browser.socket.receive({ type: "error", code: 4429, message: "too many connections" });
    browser.socket.drop(CloseCode.TOO_MANY, '{"retry_in_ms":8000}');
    expect(client.connection).toMatchObject({ retryInMs: 8_000, error: { message: "too many connections" } });
    vi.advanceTimersByTime(8_000);
    expect([browser.sockets.length, browser.streams.length]).toEqual([2, 0]);
  });

  it.each([CloseCode.BAD_REQUEST, CloseCode.FORBIDDEN, CloseCode.FRAME_TOO_BIG])(
    "code %i ends reconnecting",
    (code) => {
      watch();
      browser.socket.prove();
      browser.socket.receive({ type: "error", code, message: "not yours" });
      browser.socket.drop(code);
      vi.advanceTimersByTime(3_600_000);
      expect(client.connection).toMatchObject({ status: "closed", error: { code, message: "not yours" } });
      expect([browser.sockets.length, browser.streams.length]).toEqual([1, 0]);
    },
  );

  it("frames of a replaced socket are dropped", () => {
    watch("r", only);
    browser.socket.open();
    browser.socket.receive(initial(1));
    const old = browser.socket;
    const { onmessage, onclose } = old;
    old.drop();
    vi.advanceTimersByTime(1_000);
    browser.socket.open();
    onmessage?.({ data: JSON.stringify(progress(2)) });
    onclose?.({ code: 4403, reason: "" });
    vi.advanceTimersByTime(33);
    expect([state().run.seq, status()]).toEqual([1, "reconnecting"]);
    expect([old.onmessage, old.onclose, old.onopen]).toEqual([null, null, null]);
  });

  it("at a gap the missing events are requested once, and shown in order", async () => {
    watch();
    browser.socket.open();
    browser.socket.receive(initial(1));
    await vi.advanceTimersByTimeAsync(33);
    browser.socket.receive(progress(3));
    await vi.advanceTimersByTimeAsync(33);
    browser.socket.receive(progress(4));
    await vi.advanceTimersByTimeAsync(33);
    const asked = browser.socket.sent.filter((frame) => frame.after !== undefined);
    expect(asked).toEqual([{ type: "subscribe", run_id: "r", after: `${EPOCH}-1` }]);
    for (const seq of [2, 3, 4]) browser.socket.receive(progress(seq));
    await vi.advanceTimersByTimeAsync(33);
    expect(texts()).toEqual(["line 1", "line 2", "line 3", "line 4"]);
  });

  it("a refusal of one run does not affect the others", () => {
    watch("a");
    client.run("b").subscribe(() => {});
    browser.socket.prove();
    browser.socket.receive({ type: "error", code: 4403, message: "not yours", run_id: "b" });
    expect(state("b").connection).toMatchObject({ status: "closed", error: { message: "not yours" } });
    vi.advanceTimersByTime(33);
    expect([state("a").connection.status, status()]).toEqual(["connected", "connected"]);
  });

  it("too many runs on the connection: the refused run is subscribed again later", () => {
    watch("a");
    browser.socket.prove();
    browser.socket.receive({ type: "error", code: 4429, message: "too many", run_id: "a" });
    vi.advanceTimersByTime(5_000);
    expect(browser.socket.subscriptions()).toEqual(["a", "a"]);
  });

  it("upstream down and up is shown, and does not affect the connection", () => {
    watch();
    browser.socket.prove();
    browser.socket.receive({ type: "upstream", status: "down" });
    expect(client.connection).toMatchObject({ status: "connected", upstream: "down" });
    browser.socket.receive({ type: "upstream", status: "up" });
    expect(client.connection.upstream).toBe("up");
  });
});

describe("tokens", () => {
  it("an expired token is renewed at once, and only once", async () => {
    let made = 0;
    watch("r", { token: async () => `token-${++made}`, transports: ["websocket"] });
    await settle();
    expect(browser.socket.url).toBe("ws://page/ws?token=token-1");
    browser.socket.open();
    browser.socket.receive({ type: "error", code: 4401, message: "expired" });
    browser.socket.drop(CloseCode.UNAUTHORIZED);
    await settle();
    expect(browser.socket.url).toBe("ws://page/ws?token=token-2");
    browser.socket.open();
    browser.socket.receive({ type: "error", code: 4401, message: "expired" });
    browser.socket.drop(CloseCode.UNAUTHORIZED);
    await settle();
    expect([status(), browser.sockets.length]).toEqual(["closed", 2]);
  });

  it("a token that expires again later is renewed each time", async () => {
    let made = 0;
    watch("r", { token: async () => `token-${++made}` });
    await settle();
    for (let n = 1; n <= 3; n += 1) {
      expect(browser.socket.url).toBe(`ws://page/ws?token=token-${n}`);
      browser.socket.prove();
      vi.advanceTimersByTime(20_000);
      browser.socket.drop(CloseCode.UNAUTHORIZED);
      await settle();
    }
    expect(status()).toBe("reconnecting");
  });

  it("a fixed token cannot be renewed: its refusal is final", async () => {
    watch("r", { token: "fixed" });
    browser.socket.open();
    browser.socket.drop(CloseCode.UNAUTHORIZED);
    await settle();
    expect([status(), browser.sockets.length]).toEqual(["closed", 1]);
  });

  it("a token source that rejects is a lost connection, not an exception", async () => {
    watch("r", { token: () => Promise.reject(new Error("no session")), transports: ["websocket"] });
    await settle();
    expect(client.connection).toMatchObject({
      status: "reconnecting",
      error: { message: "the token source failed" },
    });
  });
});

describe("fallback and upgrade", () => {
  it("falls back from WebSocket to SSE to polling by itself, with one cursor", async () => {
    watch();
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    expect(browser.stream.url).toBe("http://page/api/runs/r/events");
    browser.stream.open();
    browser.stream.receive(initial(2));
    expect(state().connection.transport).toBe("sse");
    browser.stream.fail();
    // it carried frames a moment ago: it is tried again first, then comes the fallback
    await vi.advanceTimersByTimeAsync(1_000);
    expect(browser.stream.url).toBe(`http://page/api/runs/r/events?after=${EPOCH}-2`);
    browser.stream.fail();
    await vi.advanceTimersByTimeAsync(500);
    expect(browser.request.url).toBe(`http://page/api/runs/r?after=${EPOCH}-2`);
    await browser.request.answer(200, { ...initial(3), events: [progress(3)], log_lines: [] });
    await vi.advanceTimersByTimeAsync(33);
    expect([state().connection.transport, texts()]).toEqual(["polling", ["line 1", "line 2", "line 3"]]);
  });

  it("a WebSocket that is accepted and silent is closed after 5 s", async () => {
    watch();
    browser.socket.open();
    await vi.advanceTimersByTimeAsync(4_999);
    expect(browser.streams).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(501);
    expect(browser.streams).toHaveLength(1);
  });

  it("an upgrade loses no event: the probe is proven before the old transport is closed", async () => {
    watch();
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    const { stream } = browser;
    stream.open();
    stream.receive(initial(1));
    await vi.advanceTimersByTimeAsync(5_000);
    expect(browser.sockets).toHaveLength(2);
    stream.receive(progress(2));
    browser.socket.open();
    expect([stream.closed, status()]).toEqual([false, "connected"]);
    browser.socket.receive({ type: "pong" });
    expect([stream.closed, client.connection.transport]).toEqual([true, "websocket"]);
    expect(browser.socket.sent.at(-1)).toMatchObject({ type: "subscribe", run_id: "r" });
    for (const seq of [2, 3]) browser.socket.receive(progress(seq));
    await vi.advanceTimersByTimeAsync(33);
    expect(texts()).toEqual(["line 1", "line 2", "line 3"]);
  });

  it("probes become rarer while a proxy forbids WebSockets", async () => {
    watch();
    browser.socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.open();
    browser.stream.receive(initial(1));
    const seen: number[] = [];
    for (let second = 0; second < 120; second += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      browser.stream.receive({ type: "heartbeat" });
      if (browser.socket.readyState === 0) {
        seen.push(second);
        browser.socket.drop();
      }
    }
    expect(seen.length).toBe(3); // after 5, 15 and 60 s
    expect(client.connection.transport).toBe("sse");
  });

  it.each(["websocket", "sse"] as const)(
    "a run whose log has expired is shown as stale: %s",
    async (kind) => {
      browser = new ScriptedBrowser(kind === "sse" ? ["WebSocket"] : []);
      watch();
      await vi.advanceTimersByTimeAsync(500);
      const peer = kind === "sse" ? browser.stream : browser.socket;
      peer.open();
      peer.receive(initial(1));
      await vi.advanceTimersByTimeAsync(33);
      expect([client.connection.transport, state().run.stale]).toEqual([kind, false]);
      peer.receive({ type: "stale", run_id: "r" });
      await vi.advanceTimersByTimeAsync(33);
      expect(state().run.stale).toBe(true);
    },
  );

  it("an `end` event ends the run, whatever its data: no reconnect", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    watch();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.open();
    browser.stream.receive(initial(1, { status: "succeeded", state: "END" }));
    browser.stream.event("end", "{}");
    browser.stream.fail();
    await vi.advanceTimersByTimeAsync(33);
    expect(state().connection).toMatchObject({ status: "closed", error: null });
    expect([client.connection.status, browser.requests.length]).toEqual(["connected", 0]);
  });

  it("an end that arrives before the last events requests them", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    watch();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.open();
    browser.stream.receive(initial(1));
    await vi.advanceTimersByTimeAsync(33);
    browser.stream.event("end", "{}");
    expect([browser.stream.url, browser.stream.closed]).toEqual([
      `http://page/api/runs/r/events?after=${EPOCH}-1`,
      false,
    ]);
    browser.stream.receive(progress(2, { status: "succeeded", state: "END" }));
    browser.stream.event("end", "{}");
    expect(state()).toMatchObject({ run: { status: "succeeded" }, connection: { status: "closed" } });
  });

  const refused = (status: number, retryAfterMs: number | null = null) =>
    closeOf(new RelayError(status, "the relay says why", {}, retryAfterMs));

  it("a stream answered with 204 is the end of the run: no reconnect", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    watch();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.open();
    browser.stream.receive(initial(1));
    browser.stream.receive(progress(2, { status: "succeeded" }));
    browser.stream.fail();
    await vi.advanceTimersByTimeAsync(1_000);
    browser.stream.end(null);
    await vi.advanceTimersByTimeAsync(33);
    expect([state().connection.status, client.connection.status]).toEqual(["closed", "connected"]);
    expect(browser.streams).toHaveLength(2);
  });

  it("a stream refused with a terminal code is an error of the run, not of the connection", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    watch();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.end(refused(403));
    await vi.advanceTimersByTimeAsync(33);
    expect(state().connection).toMatchObject({ status: "closed", error: { code: 4403 } });
    expect(client.connection.status).toBe("connected");
  });

  it("a stream refused with 429 is retried after Retry-After", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    watch();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.end(refused(429, 7_000));
    expect(client.connection).toMatchObject({ status: "reconnecting", retryInMs: 7_000 });
    expect(client.connection.error).toEqual({ code: 4429, message: "the relay says why" });
  });

  it("a token that a stream refuses is renewed, and sent in a header", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    const token = vi.fn(async () => `t${token.mock.calls.length}`);
    watch("r", { token });
    await vi.advanceTimersByTimeAsync(500);
    expect(browser.stream).toMatchObject({ headers: { authorization: "Bearer t1" } });
    expect(browser.stream.url).not.toContain("token");
    browser.stream.end(refused(401));
    await settle();
    expect(browser.stream.headers).toEqual({ authorization: "Bearer t2" });
  });

  it("while no stream is open, polls keep the connection alive", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    watch("a");
    client.stayConnected();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.open();
    browser.stream.receive(initial(1, { run_id: "a", status: "succeeded", state: "END" }));
    browser.stream.event("end", "{}");
    for (let second = 0; second < 120; second += 1) {
      const asked = browser.requests.length;
      await vi.advanceTimersByTimeAsync(1_000);
      for (const socket of browser.sockets.slice(1)) if (socket.readyState === 0) socket.drop();
      if (browser.requests.length > asked) await browser.request.answer(200, { runs: [] });
    }
    expect(client.connection).toMatchObject({
      status: "connected",
      quality: "excellent",
      statistics: { reconnects: 0 },
    });
  });

  it("at most one stream is open: the second run is polled", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    watch("a");
    client.run("b").subscribe(() => {});
    await vi.advanceTimersByTimeAsync(500);
    expect(browser.streams.map((stream) => stream.url)).toEqual(["http://page/api/runs/a/events"]);
    expect(browser.requests.map((request) => request.url)).toEqual(["http://page/api/runs/b"]);
  });

  it("a stream that a proxy holds back is detected by one poll", async () => {
    browser = new ScriptedBrowser(["WebSocket"]);
    watch();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.open();
    await vi.advanceTimersByTimeAsync(5_000);
    await browser.request.answer(200, { ...initial(2), log_lines: null });
    await vi.advanceTimersByTimeAsync(33);
    expect(texts()).toEqual(["line 1", "line 2"]);
    expect(status()).toBe("reconnecting");
  });

  it("without any transport the connection fails with a message", async () => {
    browser = new ScriptedBrowser(["WebSocket", "eventStream"]);
    watch("r", { transports: ["websocket", "sse"] });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.connection).toMatchObject({
      status: "failed",
      error: { message: "this environment cannot read streams" },
    });
  });
});

describe("polling", () => {
  const only = { transports: ["polling"] } as const;

  it("the first poll is not held, the next ones are", async () => {
    watch("r", only);
    expect(browser.request.url).toBe("http://page/api/runs/r");
    await browser.request.answer(200, { ...initial(1), log_lines: [] });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(browser.request.url).toBe(`http://page/api/runs/r?after=${EPOCH}-1&wait=25`);
    expect(browser.request.aborted()).toBe(false);
  });

  it("with many runs no request is held: a browser has six connections", async () => {
    client = new RelayClient({ environment: browser.environment, ...only });
    for (const runId of ["a", "b", "c"]) client.run(runId).subscribe(() => {});
    for (const request of [...browser.requests]) {
      const runId = request.url.split("/").at(-1);
      await request.answer(200, { ...initial(1), run_id: runId, log_lines: [] });
    }
    await vi.advanceTimersByTimeAsync(2_000);
    expect(browser.requests.slice(3).every((request) => !request.url.includes("wait"))).toBe(true);
    expect(browser.requests).toHaveLength(6);
  });

  it("an unknown run is polled again: it may not have started", async () => {
    watch("r", only);
    await browser.request.answer(404, { title: "Not Found" });
    await vi.advanceTimersByTimeAsync(2_000);
    expect([status(), state().run.status, browser.requests.length]).toEqual(["connected", "unknown", 2]);
  });

  it("a 503 for Redis is upstream down, not a lost connection", async () => {
    watch("r", only);
    await browser.request.answer(503, { detail: "no Redis" }, { "retry-after": "2" });
    expect(client.connection).toMatchObject({ status: "connected", upstream: "down" });
    await vi.advanceTimersByTimeAsync(2_000);
    await browser.request.answer(200, { ...initial(1), log_lines: [] });
    expect(client.connection.upstream).toBe("up");
  });

  it.each([
    ["that it had", 200],
    ["that it has lost", 404],
  ])("when Redis is back with the run %s, nothing says any more that it is away", async (_, status) => {
    watch("r", only);
    await browser.request.answer(200, { ...initial(1), log_lines: [] });
    await vi.advanceTimersByTimeAsync(2_000);
    await browser.request.answer(200, { ...initial(1), log_lines: [], stale: true });
    expect(client.connection.upstream).toBe("down");
    await vi.advanceTimersByTimeAsync(2_000);
    await browser.request.answer(status, { ...initial(1), log_lines: [], events: [], recovered: true });
    await vi.advanceTimersByTimeAsync(33);
    expect([client.connection.upstream, state().run.stale]).toEqual(["up", status === 404]);
  });

  it("a 503 for Redis is polled again after Retry-After", async () => {
    watch("r", only);
    await browser.request.answer(503, { detail: "no Redis" }, { "retry-after": "9" });
    await vi.advanceTimersByTimeAsync(8_999);
    expect(browser.requests).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(browser.requests).toHaveLength(2);
  });

  it("a run whose log has expired is polled every two seconds, not in a loop", async () => {
    watch("r", only);
    await browser.request.answer(200, { ...initial(1), log_lines: [] });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(browser.request.url).toContain("wait=25");
    await browser.request.answer(404, { title: "Not Found" }); // not held: the log is lost
    await vi.advanceTimersByTimeAsync(1_999);
    expect(browser.requests).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect([browser.requests.length, state().run.stale]).toEqual([3, true]);
  });

  it("a failed request is a lost connection", async () => {
    watch("r", only);
    await browser.request.fail();
    expect(client.connection).toMatchObject({ status: "reconnecting", retryInMs: 1_000 });
  });

  it("too many connections (429): retried after Retry-After", async () => {
    watch("r", only);
    await browser.request.answer(429, { detail: "too many" }, { "retry-after": "7" });
    expect(client.connection).toMatchObject({ retryInMs: 7_000, error: { code: 4429 } });
  });

  it("a poll sends the token in a header", async () => {
    watch("r", { ...only, token: "secret" });
    expect(browser.request.headers).toEqual({ authorization: "Bearer secret" });
    expect(browser.request.url).not.toContain("secret");
  });
});

describe("the page", () => {
  it("offline and no answer: waits for the network and counts no retry", () => {
    watch("r", { transports: ["websocket"] });
    browser.socket.prove();
    browser.signal("offline");
    expect(status()).toBe("connected"); // the browser may be wrong: the connection is checked first
    vi.advanceTimersByTime(5_000);
    expect([status(), client.connection.attempt]).toEqual(["offline", 0]);
    browser.signal("online");
    browser.socket.prove();
    expect(status()).toBe("connected");
  });

  it("offline by the browser only: a connection that answers stays", () => {
    watch();
    browser.socket.prove();
    browser.signal("offline");
    browser.socket.receive({ type: "pong" });
    vi.advanceTimersByTime(20_000);
    expect([status(), browser.sockets.length]).toEqual(["connected", 1]);
  });

  it("online again while waiting: reconnects now, not at the end of the wait", () => {
    watch("r", { transports: ["websocket"] });
    browser.socket.prove();
    browser.socket.drop();
    browser.signal("online");
    expect([browser.sockets.length, status()]).toEqual([2, "connecting"]);
  });

  it("a page hidden for five minutes disconnects, and catches up by cursor when visible", () => {
    watch();
    browser.socket.open();
    browser.socket.receive(initial(4));
    browser.signal("hidden");
    for (let n = 0; n < 14; n += 1) {
      vi.advanceTimersByTime(20_000);
      browser.socket.receive({ type: "pong" });
    }
    vi.advanceTimersByTime(19_999);
    expect(status()).toBe("connected");
    vi.advanceTimersByTime(1);
    expect(status()).toBe("paused");
    browser.signal("visible");
    browser.socket.open();
    expect(browser.socket.sent.at(-1)).toEqual({ type: "subscribe", run_id: "r", after: `${EPOCH}-4` });
  });

  it("a page that is visible again soon does not reconnect", () => {
    watch();
    browser.socket.prove();
    browser.signal("hidden");
    vi.advanceTimersByTime(1_000);
    browser.signal("visible");
    vi.advanceTimersByTime(20_000);
    expect(browser.sockets).toHaveLength(1);
  });

  it("after sleep the connection is checked: no answer within 5 s is a lost connection", () => {
    watch("r", { transports: ["websocket"] });
    browser.socket.prove();
    // while the machine sleeps, the clock goes on and timers stop
    vi.setSystemTime(Date.now() + 40_000);
    vi.advanceTimersByTime(5_000);
    expect(browser.socket.sent.at(-1)).toEqual({ type: "ping" });
    vi.advanceTimersByTime(5_000);
    expect(status()).toBe("reconnecting");
  });

  it("no socket, timer or listener is left after the last unsubscribe", () => {
    const stop = watch();
    browser.socket.prove();
    stop();
    vi.advanceTimersByTime(5_000);
    expect([status(), browser.socket.closedByUs, browser.listenerCount]).toEqual(["idle", true, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("unsubscribe and subscribe at once does not reconnect", () => {
    const stop = watch();
    browser.socket.prove();
    stop();
    vi.advanceTimersByTime(500);
    client.run("r").subscribe(() => {});
    vi.advanceTimersByTime(10_000);
    expect([browser.sockets.length, browser.socket.closedByUs, status()]).toEqual([1, false, "connected"]);
  });

  it("baseUrl: a relay of another origin is addressed there", () => {
    watch("r", { baseUrl: "https://relay.example.com" });
    expect(browser.socket.url).toBe("wss://relay.example.com/ws");
  });
});

describe("statistics", () => {
  it("count reconnects and missed heartbeats, with their times", () => {
    watch("r", { transports: ["websocket"] });
    browser.socket.prove();
    vi.advanceTimersByTime(45_000);
    vi.advanceTimersByTime(1_000);
    browser.socket.prove();
    expect(client.connection.statistics).toMatchObject({
      reconnects: 1,
      lastReconnectAt: Date.now(),
      connectedSince: Date.now(),
    });
  });
});

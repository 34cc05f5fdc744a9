import { describe, expect, it, vi } from "vitest";
import { EPOCH, initial, progress } from "../../test/scripted";
import { browser, client, settle, state, status, texts, watch } from "../../test/watching";
import { CloseCode } from "./codes.js";

describe("reconnecting", () => {
  const only = { transports: ["websocket"] } as const;

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

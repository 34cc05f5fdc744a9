import { describe, expect, it, vi } from "vitest";
import { EPOCH, initial, progress } from "../../test/scripted";
import { browser, client, openClient, settle, state, status, texts, watch } from "../../test/watching";
import { CloseCode } from "./codes.js";

describe("WebSocket", () => {
  const only = { transports: ["websocket"] } as const;

  it("connects with the first subscriber, not before", () => {
    openClient();
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
});

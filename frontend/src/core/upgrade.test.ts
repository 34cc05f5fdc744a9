import { describe, expect, it, vi } from "vitest";
import { EPOCH, initial, progress } from "../../test/scripted";
import { browser, client, openBrowser, settle, state, status, texts, watch } from "../../test/watching";
import { closeOf } from "./polling.js";
import { RelayError } from "./problem.js";

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
      openBrowser(kind === "sse" ? ["WebSocket"] : []);
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
    openBrowser(["WebSocket"]);
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
    openBrowser(["WebSocket"]);
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
    openBrowser(["WebSocket"]);
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
    openBrowser(["WebSocket"]);
    watch();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.end(refused(403));
    await vi.advanceTimersByTimeAsync(33);
    expect(state().connection).toMatchObject({ status: "closed", error: { code: 4403 } });
    expect(client.connection.status).toBe("connected");
  });

  it("a stream refused with 429 is retried after Retry-After", async () => {
    openBrowser(["WebSocket"]);
    watch();
    await vi.advanceTimersByTimeAsync(500);
    browser.stream.end(refused(429, 7_000));
    expect(client.connection).toMatchObject({ status: "reconnecting", retryInMs: 7_000 });
    expect(client.connection.error).toEqual({ code: 4429, message: "the relay says why" });
  });

  it("a token that a stream refuses is renewed, and sent in a header", async () => {
    openBrowser(["WebSocket"]);
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
    openBrowser(["WebSocket"]);
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
    openBrowser(["WebSocket"]);
    watch("a");
    client.run("b").subscribe(() => {});
    await vi.advanceTimersByTimeAsync(500);
    expect(browser.streams.map((stream) => stream.url)).toEqual(["http://page/api/runs/a/events"]);
    expect(browser.requests.map((request) => request.url)).toEqual(["http://page/api/runs/b"]);
  });

  it("a stream that a proxy holds back is detected by one poll", async () => {
    openBrowser(["WebSocket"]);
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
    openBrowser(["WebSocket", "eventStream"]);
    watch("r", { transports: ["websocket", "sse"] });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(client.connection).toMatchObject({
      status: "failed",
      error: { message: "this environment cannot read streams" },
    });
  });
});

import { describe, expect, it, vi } from "vitest";
import { EPOCH, initial } from "../../test/scripted";
import { browser, client, openClient, state, status, watch } from "../../test/watching";

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
    openClient(only);
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

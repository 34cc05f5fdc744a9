import { fetchEventSource } from "@microsoft/fetch-event-source";
import { WebSocket as PartySocket } from "partysocket";
import ReconnectingWebSocket from "reconnecting-websocket";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { until } from "../real/process";
import { missing, RealSystem } from "../real/system";

interface Frame {
  type: string;
  logs?: string[];
  message?: string;
  state?: string;
}

/** The log as a client puts it together that knows nothing but `logs` and `message`. */
function linesOf(frames: readonly Frame[]): string[] {
  let lines: string[] = [];
  for (const frame of frames) {
    if (frame.type === "initial_state") lines = [...(frame.logs ?? [])];
    else if (frame.message) lines.push(frame.message);
  }
  return lines;
}

/** Libraries that reconnect, as they come from npm, against a real relay. */
describe.skipIf(missing() !== null)("foreign clients", () => {
  const system = new RealSystem();
  beforeAll(() => system.start(), 120_000);
  afterAll(() => system.stop());

  it("fetch-event-source comes back when the relay restarts, and ends with the run", async () => {
    // It is written for browsers, and asks these whether the page is shown.
    vi.stubGlobal("window", globalThis);
    vi.stubGlobal("document", { hidden: false, addEventListener() {}, removeEventListener() {} });
    await system.publish({ run_id: "stream", state: "COUNTING", log: "one" });
    const frames: Frame[] = [];
    let opened = 0;
    const over = new AbortController();
    const ended = fetchEventSource(`${system.url}/api/runs/stream/events`, {
      signal: over.signal,
      async onopen() {
        opened += 1;
      },
      onmessage(event) {
        if (event.data) frames.push({ ...JSON.parse(event.data), type: event.event });
        if (event.event === "end") over.abort();
      },
    });
    await until("the first line", async () => linesOf(frames).length === 1);
    await system.restartRelay();
    await system.publish({ run_id: "stream", log: "two" }, { run_id: "stream", state: "END" });
    await ended;
    expect(linesOf(frames)).toEqual(["one", "two"]);
    expect(opened).toBeGreaterThan(1);
    vi.unstubAllGlobals();
  });

  const LIBRARIES = {
    "reconnecting-websocket": (url: string) =>
      new ReconnectingWebSocket(url, [], { WebSocket, minReconnectionDelay: 50, maxReconnectionDelay: 50 }),
    partysocket: (url: string) =>
      new PartySocket(url, [], { WebSocket, minReconnectionDelay: 50, maxReconnectionDelay: 50 }),
  };

  it.each(Object.keys(LIBRARIES) as (keyof typeof LIBRARIES)[])(
    "%s does not come back for ever to a run that has ended",
    async (name) => {
      const runId = `over-${name}`;
      await system.publish({ run_id: runId, state: "END", log: "all" });
      let opened = 0;
      let frames: Frame[] = [];
      const socket = LIBRARIES[name](`${system.url.replace("http", "ws")}/ws/${runId}`);
      socket.onopen = () => {
        opened += 1;
        frames = [];
      };
      socket.onmessage = (event: { data: string }) => frames.push(JSON.parse(event.data));
      try {
        await until("it has come back three times", async () => opened === 4, 25_000);
        await until("the state", async () => linesOf(frames).length === 1);
        // another attempt is shown to a client that was kept
        await system.publish({ run_id: runId, attempt: 2, state: "COUNTING", log: "once more" });
        await until("the new attempt's line", async () => linesOf(frames).includes("once more"));
        expect(opened).toBe(4);
      } finally {
        socket.close();
      }
    },
  );
});

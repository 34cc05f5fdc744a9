// @vitest-environment happy-dom
// @vitest-environment-options { "settings": { "fetch": { "disableSameOriginPolicy": true } } }
import { renderHook } from "@testing-library/react";
import useWebSocket from "react-use-websocket";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { until } from "../real/process";
import { missing, RealSystem } from "../real/system";

describe.skipIf(missing() !== null)("react-use-websocket", () => {
  const system = new RealSystem();
  beforeAll(() => system.start(), 120_000);
  afterAll(() => system.stop());

  it("keeps its connection by its own heartbeat, a text ping that wants a text pong", async () => {
    vi.stubGlobal("WebSocket", WebSocket);
    await system.publish({ run_id: "r", state: "COUNTING", log: "one" });
    let opened = 0;
    const heard: string[] = [];
    const hook = renderHook(() =>
      useWebSocket(`${system.url.replace("http", "ws")}/ws/r`, {
        // the library's default message, more often
        heartbeat: { interval: 100, timeout: 1_000 },
        shouldReconnect: () => true,
        reconnectInterval: 10,
        onOpen: () => {
          opened += 1;
        },
        onMessage: (event: MessageEvent<string>) => heard.push(event.data),
      }),
    );
    await until("some heartbeats", async () => heard.filter((text) => text === "pong").length >= 5);
    await system.publish({ run_id: "r", log: "two" });
    await until("the next line", async () => heard.some((text) => text.includes('"two"')));
    expect(opened).toBe(1);
    hook.unmount();
    vi.unstubAllGlobals();
  });
});

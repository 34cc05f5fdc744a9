import { expect, it } from "vitest";
import { lazyTransport } from "./lazyTransport.js";
import type { Transport, TransportClose, TransportEvents } from "./transport.js";

/** A transport that writes down what it is asked, and how it is opened. */
function scene() {
  const asked: string[] = [];
  const closes: TransportClose[] = [];
  let open: (transport: Transport) => void = () => {};
  let fail: (error: Error) => void = () => {};
  const events = { onClose: (close: TransportClose) => closes.push(close) } as unknown as TransportEvents;
  const lazy = lazyTransport(
    "polling",
    events,
    () =>
      new Promise((resolve, reject) => {
        open = resolve;
        fail = reject;
      }),
  );
  const real: Transport = {
    kind: "polling",
    subscribe: (runId, after) => asked.push(`subscribe ${runId} ${after}`),
    unsubscribe: (runId) => asked.push(`unsubscribe ${runId}`),
    subscribeFeed: (wanted) => asked.push(`feed ${wanted}`),
    checkAlive: (deadlineMs) => asked.push(`check ${deadlineMs}`),
    close: () => asked.push("close"),
  };
  const settled = () => new Promise((resolve) => setTimeout(resolve));
  return { lazy, real, asked, closes, open: () => open(real), fail: (error: Error) => fail(error), settled };
}

it("what it was asked while its code was loaded is done in order, then everything at once", async () => {
  const { lazy, asked, open, settled } = scene();
  lazy.subscribe("a", null);
  lazy.subscribe("b", "e-1");
  lazy.unsubscribe("a");
  lazy.subscribeFeed(true);
  expect(asked).toEqual([]);
  open();
  await settled();
  lazy.checkAlive(5);
  expect(asked).toEqual(["subscribe a null", "subscribe b e-1", "unsubscribe a", "feed true", "check 5"]);
});

it("closed before it is there, it never begins", async () => {
  const { lazy, asked, closes, open, settled } = scene();
  lazy.subscribe("a", null);
  lazy.close();
  open();
  await settled();
  expect([asked, closes]).toEqual([["close"], []]);
});

it("code that cannot be loaded is a connection that broke, so that it is tried again", async () => {
  const { lazy, closes, fail, settled } = scene();
  lazy.subscribe("a", null);
  fail(new Error("no network"));
  await settled();
  expect(closes).toEqual([{ code: null, message: "Error: no network", retryInMs: null }]);
});

it("after close a failure is told to nobody", async () => {
  const { lazy, closes, fail, settled } = scene();
  lazy.close();
  fail(new Error("no network"));
  await settled();
  expect(closes).toEqual([]);
});

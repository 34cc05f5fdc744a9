import { describe, expect, it } from "vitest";
import { eventStreams } from "./eventStream.js";

/** The events of a stream of these bytes, cut into pieces of `size`. */
async function told(
  bytes: Uint8Array<ArrayBuffer>,
  size: number,
  init: ResponseInit = {},
): Promise<unknown[]> {
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
  const headers = { "content-type": "text/event-stream; charset=utf-8" };
  return collect(async () => new Response(init.status === 204 ? null : body, { headers, ...init }));
}

function collect(send: typeof fetch): Promise<unknown[]> {
  const seen: unknown[] = [];
  return new Promise((resolve) => {
    eventStreams(send)(
      "http://relay/events",
      { authorization: "Bearer t" },
      {
        onOpen: () => seen.push("open"),
        onEvent: (name, data) => seen.push([name, data]),
        onEnd: (end) => resolve([...seen, end]),
      },
    );
  });
}

const text = (value: string) => new TextEncoder().encode(value);
const ENDED = { code: null, message: "the event stream ended", retryInMs: null };

describe("a stream over fetch", () => {
  it.each([1, 2, 3, 7, 1_000])(
    "gives the same events when it is cut into pieces of %i bytes",
    async (size) => {
      const stream =
        'retry: 1000\n\nevent: progress\nid: e-1\ndata: {"message":"고양이"}\n\nevent: heartbeat\ndata: {}\n\n';
      expect(await told(text(stream), size)).toEqual([
        "open",
        ["progress", '{"message":"고양이"}'],
        ["heartbeat", "{}"],
        ENDED,
      ]);
    },
  );

  it("204 is the end of the run", async () => {
    expect(await told(text(""), 1, { status: 204 })).toEqual([null]);
  });

  it("a refusal has the relay's reason and retry time", async () => {
    const problem = JSON.stringify({ status: 429, detail: "too many connections" });
    const [end] = await told(text(problem), 100, { status: 429, headers: { "retry-after": "5" } });
    expect(end).toEqual({ code: 4429, message: "too many connections", retryInMs: 5_000 });
  });

  it("an HTML page in place of a stream is an error", async () => {
    const [end] = await told(text("<html>"), 100, { headers: { "content-type": "text/html" } });
    expect(end).toMatchObject({ code: null, message: "this is not a relay (got text/html from )" });
  });

  it("a network error ends the stream, once", async () => {
    const failing = collect(() => Promise.reject(new TypeError("failed to fetch")));
    expect(await failing).toMatchObject([{ code: null, message: "the event stream broke" }]);
  });

  it("after close no event is called, and the request is aborted", async () => {
    let signal: AbortSignal | undefined;
    const seen: string[] = [];
    let release = () => {};
    const send: typeof fetch = async (_, init) => {
      signal = init?.signal ?? undefined;
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return new Response(null, { status: 204 });
    };
    const close = eventStreams(send)(
      "u",
      {},
      {
        onOpen: () => seen.push("open"),
        onEvent: () => seen.push("event"),
        onEnd: () => seen.push("end"),
      },
    );
    close();
    release();
    await new Promise((resolve) => setTimeout(resolve));
    expect([seen, signal?.aborted]).toEqual([[], true]);
  });
});

import { expect, it } from "vitest";

it("a client can be imported and made without a window, and does nothing there", async () => {
  expect(typeof window).toBe("undefined");
  const { RelayClient } = await import("./index.js");
  const client = new RelayClient({ baseUrl: "https://relay.example.com" });
  expect(client.run("r").state.connection.status).toBe("idle");
});

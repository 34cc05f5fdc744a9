import { afterEach, beforeEach, vi } from "vitest";
import { loadFallbacks } from "../src/core/transports";

// So that they are opened at once: a test scripts what they do, not how they are loaded (lazyTransport.test.ts does).
await loadFallbacks();

// Warnings are errors: a warning of React or of a library is a fault of the code or of the test.
beforeEach(() => {
  for (const method of ["error", "warn"] as const) {
    vi.spyOn(console, method).mockImplementation((...words: unknown[]) => {
      throw new Error(`console.${method}: ${words.map(String).join(" ")}`);
    });
  }
});

afterEach(() => {
  vi.useRealTimers();
});

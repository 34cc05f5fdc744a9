import { afterEach, beforeEach, vi } from "vitest";

// Warnings are errors: what React or a library has to say about a test is a fault of the code or of the test.
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

/** Builds the page that the browser tests open from the current sources, in a folder of its own. */

import { fileURLToPath } from "node:url";
import { build } from "vite";
import { chromiumPath } from "./chromium";

export const BUILT = fileURLToPath(new URL("../.output/dashboard", import.meta.url));

export async function setup(): Promise<void> {
  if (chromiumPath() === null) return;
  // With the test runner's NODE_ENV it would be React's development build, which is ten times slower.
  const before = process.env.NODE_ENV;
  process.env.NODE_ENV = "production";
  try {
    await build({
      mode: "production",
      logLevel: "error",
      build: { outDir: BUILT, emptyOutDir: true, minify: process.env.NO_MINIFY === undefined },
    });
  } finally {
    process.env.NODE_ENV = before;
  }
}

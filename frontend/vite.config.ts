import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { compressed } from "./compressed.ts";

const relay = process.env.RUNRELAY_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react(), compressed()],
  base: "./", // the relay says in the page where its root is: it may be served under any path
  build: {
    outDir: "../backend/runrelay/dashboard",
    emptyOutDir: true,
    target: "es2022",
    rolldownOptions: { checks: { pluginTimings: false } },
    assetsInlineLimit: 0, // the page's Content-Security-Policy allows only styles and pictures inline
  },
  server: {
    proxy: {
      "/api": relay,
      "/ws": { target: relay, ws: true },
    },
  },
  test: {
    restoreMocks: true,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["src/**/*.test.{ts,tsx}"],
          environment: "node",
          setupFiles: ["./test/setup.ts"],
          testTimeout: 5_000,
        },
      },
      {
        extends: true,
        test: {
          name: "browser",
          include: ["test/browser/*.test.ts"],
          environment: "node",
          globalSetup: ["./test/browser/build.ts"],
          testTimeout: 30_000,
          hookTimeout: 30_000,
          fileParallelism: false, // one Chromium at a time: some tests measure time
        },
      },
    ],
  },
});

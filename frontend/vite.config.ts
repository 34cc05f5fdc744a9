import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const relay = process.env.RUNRELAY_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  base: "/",
  build: {
    outDir: "../backend/runrelay/dashboard",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // a strict Content-Security-Policy allows no data: scripts or fonts
  },
  server: {
    proxy: {
      "/api": relay,
      "/ws": { target: relay, ws: true },
    },
  },
  test: {
    include: ["src/**/*.test.{ts,tsx}"],
    environment: "node",
    setupFiles: ["./test/setup.ts"],
    restoreMocks: true,
    testTimeout: 5000,
  },
});

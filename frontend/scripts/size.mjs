// Size budgets, gzipped: the core alone, the React layer with it (React itself excluded), the dashboard's JavaScript.
// Counts what a page loads at its start. The transports other than the WebSocket, and the parser of event streams, are
// loaded with their first use, so they are not counted.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const KB = 1_024;

/** Vite's own loader of lazy modules belongs to the application, which may be built with anything. */
const withoutLoader = {
  name: "without-loader",
  enforce: "pre",
  load: (id) =>
    id === "\0vite/preload-helper.js" ? "export const __vitePreload = (load) => load();" : undefined,
};

async function bundled(entry) {
  const result = await build({
    configFile: false,
    logLevel: "error",
    plugins: [withoutLoader],
    // not `lib`: that mode keeps whitespace, which an application's build removes
    build: {
      write: false,
      target: "es2022",
      minify: true,
      // as for a server: without Vite's helper for preloads, which an application has once, whatever it contains
      ssr: here(entry),
      rolldownOptions: { external: [/^react/], preserveEntrySignatures: "strict" },
    },
  });
  return sizeOf(result);
}

function sizeOf(result) {
  const outputs = [result].flat().flatMap((item) => item.output);
  return outputs
    .filter((item) => item.type === "chunk" && !item.isDynamicEntry)
    .reduce((sum, chunk) => sum + gzipSync(chunk.code).length, 0);
}

async function dashboard() {
  const result = await build({
    root: here(".."),
    mode: "production",
    logLevel: "error",
    build: { write: false },
  });
  return sizeOf(result);
}

const budgets = [
  ["core", await bundled("../src/core/index.ts"), 13 * KB],
  ["@runrelay/react with core", await bundled("../src/react/index.ts"), 20 * KB],
  ["dashboard JavaScript", await dashboard(), 140 * KB],
];
let isOver = false;
for (const [name, size, limit] of budgets) {
  isOver ||= size > limit;
  process.stdout.write(
    `${size > limit ? "over " : "ok   "} ${name}: ${(size / KB).toFixed(1)} KiB of ${limit / KB} KiB\n`,
  );
}
if (isOver) process.exitCode = 1;

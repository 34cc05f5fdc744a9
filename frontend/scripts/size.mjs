// Size budgets, gzipped: the core alone, the React layer with it (React itself excluded), the dashboard's JavaScript.
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const KB = 1_000;

async function bundled(entry) {
  const result = await build({
    configFile: false,
    logLevel: "error",
    build: { write: false, minify: true, target: "es2022", lib: { entry: here(entry), formats: ["es"] }, rolldownOptions: { external: [/^react/] } },
  });
  const outputs = [result].flat().flatMap((item) => item.output);
  return outputs.filter((item) => item.type === "chunk").reduce((sum, chunk) => sum + gzipSync(chunk.code).length, 0);
}

async function shipped(folder) {
  const names = (await readdir(here(folder))).filter((name) => name.endsWith(".js"));
  const sizes = await Promise.all(names.map(async (name) => gzipSync(await readFile(here(`${folder}/${name}`))).length));
  return sizes.reduce((sum, size) => sum + size, 0);
}

const budgets = [
  ["core", await bundled("../src/core/index.ts"), 12 * KB],
  ["@runrelay/react with core", await bundled("../src/react/index.ts"), 20 * KB],
  ["dashboard JavaScript", await shipped("../../backend/runrelay/dashboard/assets"), 120 * KB],
];
let isOver = false;
for (const [name, size, limit] of budgets) {
  isOver ||= size > limit;
  process.stdout.write(`${size > limit ? "over " : "ok   "} ${name}: ${(size / KB).toFixed(1)} kB of ${limit / KB} kB\n`);
}
if (isOver) process.exitCode = 1;

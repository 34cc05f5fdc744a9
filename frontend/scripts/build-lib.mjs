// Builds the library: one module for each source file (so that a bundler drops unused ones), types, and the stylesheet.
import { execFileSync } from "node:child_process";
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await rm(here("../dist"), { recursive: true, force: true });
execFileSync(
  process.execPath,
  [here("../node_modules/typescript/bin/tsc"), "-p", here("../tsconfig.lib.json")],
  { stdio: ["ignore", 2, 2] }, // `npm pack` prints the tarball's name on stdout
);
await copyFile(here("../src/react/styles.css"), here("../dist/react/styles.css"));

// npm packs these files from here; scripts/prepare.py does not count them as sources.
await copyFile(here("../../LICENSE"), here("../LICENSE"));
// Resolvers that do not read `exports` (webpack 4, Jest 27, eslint-plugin-import) look for files at these paths.
await copyFile(here("../src/react/styles.css"), here("../styles.css"));
await mkdir(here("../core"), { recursive: true });
const core = { type: "module", main: "../dist/core/index.js", types: "../dist/core/index.d.ts" };
await writeFile(here("../core/package.json"), `${JSON.stringify(core, null, 2)}\n`);

// Builds the library: one module for each source file (so that a bundler drops unused ones), types, and the stylesheet.
import { execFileSync } from "node:child_process";
import { copyFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await rm(here("../dist"), { recursive: true, force: true });
execFileSync(
  process.execPath,
  [here("../node_modules/typescript/bin/tsc"), "-p", here("../tsconfig.lib.json")],
  { stdio: "inherit" },
);
await copyFile(here("../src/react/styles.css"), here("../dist/react/styles.css"));
await copyFile(here("../../LICENSE"), here("../LICENSE")); // npm packs this file

// Before `npm pack` and `npm publish`: builds the library. In a fresh clone it first installs what the build needs.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

if (!existsSync(here("../node_modules/typescript/package.json"))) {
  execFileSync("npm", ["ci", "--include=dev"], {
    cwd: here(".."),
    // npm passes the options of `npm pack --dry-run --json` on: with them, `npm ci` would install nothing
    env: { ...process.env, npm_config_dry_run: "false", npm_config_json: "false" },
    shell: process.platform === "win32",
    stdio: ["ignore", 2, 2], // `npm pack` prints the tarball's name on stdout
  });
}
await import("./build-lib.mjs");

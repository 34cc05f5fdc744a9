import { execFile, spawn } from "node:child_process";
import { cp, mkdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { FakeRelay } from "../fake/relay";
import { running } from "../fake/scenes";
import { chromiumPath } from "./chromium";
import { stage } from "./page";

const run = promisify(execFile);
const FRONTEND = fileURLToPath(new URL("../..", import.meta.url));
const WORK = join(FRONTEND, "test/.output/examples");
const VITE = join(FRONTEND, "node_modules/vite/bin/vite.js");
const TSC = join(FRONTEND, "node_modules/typescript/bin/tsc");
/** The environment of a user's build: without the test runner's variables. */
const ENV = { ...process.env, NODE_ENV: "production", VITEST: undefined };

/**
 * A copy of an example with the packed library installed. The library is packed and unpacked as npm does it. React and
 * the tools are taken from this folder, so the test needs no registry.
 */
async function install(): Promise<void> {
  await rm(WORK, { recursive: true, force: true });
  await mkdir(join(WORK, "node_modules/@runrelay/react"), { recursive: true });
  await run("npm", ["pack", "--silent", "--pack-destination", WORK], { cwd: FRONTEND });
  const tarball = join(WORK, "runrelay-react-0.1.0.tgz");
  await run("tar", [
    "xzf",
    tarball,
    "--strip-components=1",
    "-C",
    join(WORK, "node_modules/@runrelay/react"),
  ]);
  await mkdir(join(WORK, "node_modules/@types"));
  for (const name of [
    "react",
    "react-dom",
    "scheduler",
    "vite",
    "csstype",
    "@types/react",
    "@types/react-dom",
  ]) {
    await symlink(join(FRONTEND, "node_modules", name), join(WORK, "node_modules", name));
  }
  for (const name of ["react-app", "ssr-app"]) {
    const skip = (path: string) => !/node_modules|dist/.test(path.slice(path.indexOf(name)));
    await cp(join(FRONTEND, "../examples", name), join(WORK, name), { recursive: true, filter: skip });
  }
}

describe.skipIf(chromiumPath() === null)("the library in a stranger's app", () => {
  const at = stage();
  beforeAll(install, 120_000);

  it("a live run on another origin with one component, from the packed library", async () => {
    const folder = join(WORK, "react-app");
    await run(process.execPath, [TSC, "-p", folder]);
    await run(process.execPath, [VITE, "build"], { cwd: folder, env: ENV });
    const host = new FakeRelay(join(folder, "dist"));
    await host.start();
    try {
      running(at.relay, "r", "A stranger's film");
      const page = await at.open("/");
      await page.goto(`${host.url}/?run=r&relay=${encodeURIComponent(at.relay.url)}`);
      await page.getByText("A stranger's film").waitFor();
      await page.locator(".rr-connection[data-status=connected]").waitFor();
      at.relay.publish("r", { progress: 0.81, log: "across origins" });
      await page
        .getByRole("progressbar", { name: "Progress" })
        .and(page.locator("[aria-valuenow='81']"))
        .waitFor();
      await page.locator(".rr-log-line", { hasText: "across origins" }).waitFor();
      at.relay.publish("r", { state: "END" });
      await page.waitForFunction(() => document.title === "done: A stranger's film");
    } finally {
      await host.stop();
    }
  }, 90_000);

  it("polls across origins where neither WebSocket nor stream gets through", async () => {
    at.allow("WebSocket", "503");
    at.relay.faults.websocket = "refuse";
    at.relay.faults.sse = "refuse";
    const host = new FakeRelay(join(WORK, "react-app/dist"));
    await host.start();
    try {
      running(at.relay, "r", "A stranger's film");
      const page = await at.open("/");
      await page.goto(`${host.url}/?run=r&relay=${encodeURIComponent(at.relay.url)}`);
      await page.locator(".rr-connection[title*=Polling]").waitFor();
      at.relay.publish("r", { progress: 0.82, log: "by polling" });
      await page.locator(".rr-log-line", { hasText: "by polling" }).waitFor();
    } finally {
      await host.stop();
    }
  });

  it("renders on a server and is taken over by the page without a complaint", async () => {
    const folder = join(WORK, "ssr-app");
    await run(process.execPath, [TSC, "-p", folder]);
    await run(process.execPath, [VITE, "build", "--outDir", "dist/client"], { cwd: folder, env: ENV });
    await run(process.execPath, [VITE, "build", "--ssr", "src/entry-server.tsx", "--outDir", "dist/server"], {
      cwd: folder,
      env: ENV,
    });
    const server = spawn(process.execPath, ["server.mjs"], { cwd: folder, env: { ...ENV, PORT: "0" } });
    try {
      const port = await new Promise<string>((resolve, reject) => {
        server.stdout.on("data", (text: Buffer) => resolve(/\d+/.exec(String(text))?.[0] ?? ""));
        server.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
      });
      running(at.relay, "r", "Rendered twice");
      const address = `http://127.0.0.1:${port}/?run=r&relay=${encodeURIComponent(at.relay.url)}`;
      const html = await (await fetch(address)).text();
      expect(html).toContain('role="progressbar"');
      expect(html).toContain("</svg> <!-- -->r</h1>");
      const page = await at.open("/");
      await page.goto(address);
      await page.getByRole("heading", { name: "Rendered twice" }).waitFor();
      at.relay.publish("r", { log: "after hydration" });
      await page.locator("#last-line", { hasText: "after hydration" }).waitFor();
    } finally {
      server.kill();
    }
  }, 90_000);
});

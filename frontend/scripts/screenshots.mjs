// Takes screenshots of the main states into docs/screenshots, or another folder:
// node scripts/screenshots.mjs [folder] [part of a name]
import { runnerImport } from "vite";

const [folder = "../docs/screenshots", only = ""] = process.argv.slice(2);
const { module } = await runnerImport("./test/browser/screenshots.ts", { logLevel: "error" });
await module.takeScreenshots(folder, only);

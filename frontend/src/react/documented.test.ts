import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import * as core from "../core/index.js";
import * as react from "./index.js";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
const page = read("../../../docs/react.md");
const section = /^## All exports$(.*?)^## /ms.exec(page)?.[1] ?? "";
const documented = new Set([...section.matchAll(/`(\w+)(?:\([\w, ]*\))?`/g)].map(([, name]) => name));

/** The names in an index's `export` lists, types among them. */
function exportsOf(source: string): string[] {
  const lists = [...source.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].map(([, list]) => list ?? "");
  return lists.flatMap((list) => list.split(",").map((item) => item.trim().split(" as ").at(-1) ?? ""));
}

it("docs/react.md lists every name that the package exports, types among them", () => {
  const names = [
    ...exportsOf(read("./index.ts")),
    ...exportsOf(read("../core/index.ts")),
    ...Object.keys(react),
    ...Object.keys(core),
  ].filter((name) => name !== "");
  expect(names.length).toBeGreaterThan(80);
  expect(names.filter((name) => !documented.has(name))).toEqual([]);
});

it("docs/react.md lists no name that the package does not export", () => {
  const types = [...read("../core/types.ts").matchAll(/^export (?:type|interface) (\w+)/gm)].map(
    ([, name]) => name,
  );
  const known = new Set([
    ...exportsOf(read("./index.ts")),
    ...exportsOf(read("../core/index.ts")),
    ...types,
    ...Object.keys(core),
  ]);
  expect([...documented].filter((name) => !known.has(name ?? ""))).toEqual([]);
});

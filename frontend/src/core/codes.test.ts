import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { CloseCode, MESSAGE_TYPES } from "./codes.js";

const python = readFileSync(new URL("../../../backend/runrelay/codes.py", import.meta.url), "utf8");

it("close codes are the relay's", () => {
  const theirs = [...python.matchAll(/^ {4}([A-Z_]+) = (\d+)$/gm)].map(([, name, code]) => [
    name,
    Number(code),
  ]);
  expect(theirs.length).toBeGreaterThan(5);
  expect(Object.entries(CloseCode)).toEqual(theirs);
});

it("message types are the relay's", () => {
  const list = /^MESSAGE_TYPES\b.*?\((.*?)^\)/ms.exec(python)?.[1] ?? "";
  const theirs = [...list.matchAll(/^\s*"(\w+)",$/gm)].map(([, name]) => name);
  expect(theirs.length).toBeGreaterThan(5);
  expect([...MESSAGE_TYPES]).toEqual(theirs);
});

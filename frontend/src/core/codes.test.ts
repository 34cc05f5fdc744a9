import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { CloseCode, MESSAGE_TYPES } from "./codes.js";
import { isEnded, STATUS_SETS, STATUSES } from "./types.js";

const source = (path: string) =>
  readFileSync(new URL(`../../../backend/runrelay/${path}`, import.meta.url), "utf8");
const python = source("codes.py");

it("close codes are the same as the relay's", () => {
  const theirs = [...python.matchAll(/^ {4}([A-Z_]+) = (\d+)$/gm)].map(([, name, code]) => [
    name,
    Number(code),
  ]);
  expect(theirs.length).toBeGreaterThan(5);
  expect(Object.entries(CloseCode)).toEqual(theirs);
});

it("message types are the same as the relay's", () => {
  const list = /^MESSAGE_TYPES\b.*?\((.*?)^\)/ms.exec(python)?.[1] ?? "";
  const theirs = [...list.matchAll(/^\s*"(\w+)",$/gm)].map(([, name]) => name);
  expect(theirs.length).toBeGreaterThan(5);
  expect([...MESSAGE_TYPES]).toEqual(theirs);
});

it("STATUS_SETS are the same as the relay's: ended by a terminal state, active is the rest", () => {
  const states = source("progress/states.py");
  const ended = /^TERMINAL_STATES\b.*= \{(.*)\}$/m.exec(states)?.[1]?.matchAll(/: "(\w+)"/g) ?? [];
  expect([...STATUS_SETS.ended]).toEqual([...ended].map(([, status]) => status));
  expect(states).toContain('ACTIVE: Final = frozenset(STATUSES) - ENDED - {"unknown"}');
  const rest = STATUSES.filter((status) => !isEnded(status) && status !== "unknown");
  expect([...STATUS_SETS.active]).toEqual(rest);
});

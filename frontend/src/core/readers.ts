/**
 * Readers for parsed JSON of any form. Each returns a value of its type, or null (a list: empty) when it is another
 * one.
 */

import { isJsonObject } from "./mergePatch.js";
import type { LogLevel, RunStatus, StepSpec } from "./types.js";
import { STATUSES } from "./types.js";

export type Fields = Readonly<Record<string, unknown>>;

const LEVELS: readonly LogLevel[] = ["debug", "info", "warning", "error"];

export const isFields: (value: unknown) => value is Fields = isJsonObject;

export function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

export function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

export function status(value: unknown): RunStatus | null {
  return STATUSES.find((known) => known === value) ?? null;
}

export function level(value: unknown): LogLevel {
  return LEVELS.find((known) => known === value) ?? "info";
}

/** The items that `read` accepts; empty when the value is not a list. */
export function list<T>(value: unknown, read: (item: unknown) => T | null): T[] {
  if (!Array.isArray(value)) return [];
  return value.map(read).filter((item): item is T & {} => item !== null);
}

/** A declared step, or null when the value is not one. */
export function readStepSpec(value: unknown): StepSpec | null {
  if (!isFields(value)) return null;
  const name = text(value.name);
  return name === null ? null : { name, weight: number(value.weight) ?? 1 };
}

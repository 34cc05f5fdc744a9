/** JSON Merge Patch (RFC 7386): the `data` of an event changes the run's data by it. Pure. */

import type { Json, JsonObject } from "./types.js";

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `target` with the keys of `patch`: null removes a key, an object is merged, any other value replaces. */
export function mergePatch(target: JsonObject | null, patch: JsonObject): JsonObject {
  const merged: Record<string, Json> = { ...target };
  for (const [name, value] of Object.entries(patch)) {
    const before = merged[name];
    if (value === null) delete merged[name];
    else merged[name] = isJsonObject(value) ? mergePatch(isJsonObject(before) ? before : null, value) : value;
  }
  return merged;
}

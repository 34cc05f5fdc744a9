/** JSON Merge Patch (RFC 7386): the `data` of an event changes the run's data by it. Pure. */

import type { Json, JsonObject } from "./types.js";

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `target` with the keys of `patch`: null removes a key, an object is merged, any other value replaces. */
export function mergePatch(target: JsonObject | null, patch: JsonObject): JsonObject {
  // A Map, because `object["__proto__"] = value` sets no key.
  const merged = new Map<string, Json>(Object.entries(target ?? {}));
  for (const [name, value] of Object.entries(patch)) {
    const before = merged.get(name);
    if (value === null) merged.delete(name);
    else
      merged.set(name, isJsonObject(value) ? mergePatch(isJsonObject(before) ? before : null, value) : value);
  }
  return Object.fromEntries(merged);
}

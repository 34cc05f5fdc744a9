/** Reads the film, picture, files and values out of a result, which may be any JSON. Pure. */

import { isJsonObject } from "../../core/mergePatch";
import type { Json, JsonObject, Units } from "../../react/index";
import { duration } from "../../react/index";

export interface MadeFile {
  readonly name: string;
  readonly mediaType: string;
  readonly sizeBytes: number | null;
}

export interface Result {
  readonly video: string | null;
  readonly poster: string | null;
  readonly image: string | null;
  readonly files: readonly MadeFile[];
  /** Everything but the files: shown as text or JSON. */
  readonly rest: Json;
  /** `rest` as pairs, if it has at most eight plain values: they are shown as a table. */
  readonly scalars: readonly (readonly [string, Scalar])[] | null;
}

type Scalar = string | number | boolean;

export function readResult(result: Json): Result {
  if (!isJsonObject(result))
    return { video: null, poster: null, image: null, files: [], rest: result, scalars: null };
  const text = (key: string) => (typeof result[key] === "string" ? (result[key] as string) : null);
  const list: readonly Json[] = Array.isArray(result.files) ? (result.files as readonly Json[]) : [];
  const files = list.flatMap((item): MadeFile[] => {
    if (!isJsonObject(item) || typeof item.name !== "string") return [];
    const mediaType = typeof item.media_type === "string" ? item.media_type : "";
    return [
      { name: item.name, mediaType, sizeBytes: typeof item.size_bytes === "number" ? item.size_bytes : null },
    ];
  });
  const video = text("video") ?? files.find((file) => file.mediaType.startsWith("video/"))?.name ?? null;
  const poster = text("poster");
  const image =
    video === null ? (files.find((file) => file.mediaType.startsWith("image/"))?.name ?? null) : null;
  const shown = new Set(["video", "poster", "files"]);
  const rest = Object.fromEntries(Object.entries(result).filter(([key]) => !shown.has(key)));
  const isEmpty = Object.keys(rest).length === 0;
  return {
    video,
    poster,
    image,
    files,
    rest: isEmpty ? null : rest,
    scalars: isEmpty ? null : scalarsOf(rest),
  };
}

function scalarsOf(fields: JsonObject): readonly (readonly [string, Scalar])[] | null {
  const entries = Object.entries(fields);
  const plain = entries.flatMap(([key, value]): [string, Scalar][] =>
    value !== null && typeof value !== "object" && String(value).length <= 80 ? [[key, value as Scalar]] : [],
  );
  return plain.length === entries.length && entries.length <= 8 ? plain : null;
}

/**
 * The label of a value, and the value with its unit. The unit is the end of the key: `_s`, `_ms` or `_bytes`. `labels`
 * has the labels of known keys, without that end.
 */
export function factOf(
  key: string,
  value: Scalar,
  units: Units,
  labels: { readonly [key: string]: string } = {},
): readonly [label: string, value: string] {
  const [, name = key, unit] = (typeof value === "number" && /^(.+)_(s|ms|bytes)$/.exec(key)) || [];
  const spaced = name.replaceAll("_", " ");
  const label = labels[name] ?? spaced.charAt(0).toUpperCase() + spaced.slice(1);
  if (typeof value !== "number" || unit === undefined) return [label, String(value)];
  if (unit === "bytes") return [label, bytes(value)];
  const ms = unit === "s" ? value * 1_000 : value;
  const isClip = ms >= 1_000 && ms < 60_000; // a tenth of a second tells two clips apart
  return [label, isClip ? `${(ms / 1_000).toFixed(1)}${units.s}` : duration(ms, units)];
}

export function bytes(size: number): string {
  if (size < 1_000) return `${size} B`;
  if (size < 1_000_000) return `${(size / 1_000).toFixed(size < 10_000 ? 1 : 0)} kB`;
  return `${(size / 1_000_000).toFixed(1)} MB`;
}

/** What a run made, read from its result. Pure; a result may be any JSON. */

import type { Json } from "../../react/index";

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
  /** What is not a file: shown as text or JSON. */
  readonly rest: Json;
  /** `rest`, when it is a handful of plain values: they read better as a table than as JSON. */
  readonly scalars: readonly (readonly [string, string])[] | null;
}

type Fields = { readonly [key: string]: Json };

function isFields(value: Json | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function readResult(result: Json): Result {
  if (!isFields(result))
    return { video: null, poster: null, image: null, files: [], rest: result, scalars: null };
  const text = (key: string) => (typeof result[key] === "string" ? (result[key] as string) : null);
  const list: readonly Json[] = Array.isArray(result.files) ? (result.files as readonly Json[]) : [];
  const files = list.flatMap((item): MadeFile[] => {
    if (!isFields(item) || typeof item.name !== "string") return [];
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

function scalarsOf(fields: Fields): readonly (readonly [string, string])[] | null {
  const entries = Object.entries(fields);
  const isPlain = entries.every(
    ([, value]) => value !== null && typeof value !== "object" && String(value).length <= 80,
  );
  return isPlain && entries.length <= 8 ? entries.map(([key, value]) => [key, String(value)]) : null;
}

export function bytes(size: number): string {
  if (size < 1_000) return `${size} B`;
  if (size < 1_000_000) return `${(size / 1_000).toFixed(size < 10_000 ? 1 : 0)} kB`;
  return `${(size / 1_000_000).toFixed(1)} MB`;
}

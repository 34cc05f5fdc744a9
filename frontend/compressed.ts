/** A plugin for Vite: beside each built file, its compressed forms, which the relay sends to browsers that accept them. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, gzip, constants as zlib } from "node:zlib";
import type { Plugin } from "vite";

/** Below it the compressed form is hardly smaller. */
const LEAST_BYTES = 1_024;

const FORMS = {
  br: (content: Buffer) =>
    promisify(brotliCompress)(content, { params: { [zlib.BROTLI_PARAM_QUALITY]: 10 } }),
  gz: (content: Buffer) => promisify(gzip)(content, { level: 9 }),
} as const;

export function compressed(): Plugin {
  return {
    name: "runrelay-compressed",
    apply: "build",
    async writeBundle({ dir }, bundle) {
      if (dir === undefined || this.meta.watchMode) return; // `make dev` builds at each change
      const texts = Object.keys(bundle).filter((name) => /\.(js|css|svg)$/.test(name));
      await Promise.all(texts.map((name) => compress(join(dir, name))));
    },
  };
}

async function compress(path: string): Promise<void> {
  const content = await readFile(path);
  if (content.length < LEAST_BYTES) return;
  for (const [ending, form] of Object.entries(FORMS))
    await writeFile(`${path}.${ending}`, await form(content));
}

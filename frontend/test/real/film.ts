/** A film made by the real pipeline, for screenshots of the page. */

import { until } from "./process";
import { missing, RealSystem } from "./system";

/** The files by name; empty where the real system cannot be started. */
export async function makeFilm(prompt: string): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  if (missing() !== null) return files;
  const system = new RealSystem();
  try {
    await system.start();
    await system.startWorker();
    const run = `${system.url}/api/runs/film`;
    await fetch(`${system.url}/api/runs`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ pipeline: "shorts", input: { prompt, locale: "ko" }, run_id: "film" }),
    });
    const isOver = async () =>
      ((await (await fetch(run)).json()) as { status: string }).status === "succeeded";
    await until("the film", isOver, 240_000);
    for (const name of ["film.mp4", "poster.jpg"]) {
      files.set(name, Buffer.from(await (await fetch(`${run}/files/${name}`)).arrayBuffer()));
    }
    return files;
  } finally {
    await system.stop();
  }
}

/** The tab's title and icon: they show the progress of a run, also while another tab is open. */

import { useEffect } from "react";
import type { RunStatusName as RunStatus } from "../react/index";
import { ROOT } from "./root";

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === "" ? "Runrelay" : `${title} · Runrelay`;
  }, [title]);
}

const COLOURS: Readonly<Record<RunStatus, string>> = {
  queued: "#7b8594",
  running: "#4c6ef5",
  retrying: "#d9900f",
  stalled: "#d9900f",
  succeeded: "#2b9a63",
  failed: "#d6453a",
  cancelled: "#7b8594",
  unknown: "#7b8594",
};

/** An icon: a ring that fills, a full disc after the end. `progress` is within 0..1; null draws a quarter. */
export function faviconSvg(status: RunStatus, progress: number | null): string {
  const colour = COLOURS[status];
  const ended = status === "succeeded" || status === "failed" || status === "cancelled";
  const length = 2 * Math.PI * 12;
  const arc = length * (progress ?? 0.25);
  const marks = {
    succeeded: "m10 16.5 4.2 4.2 8-9",
    failed: "m11 11 10 10m0-10-10 10",
    cancelled: "M10 16h12",
  };
  const mark = ended
    ? `<path d="${marks[status]}" fill="none" stroke="#fff" stroke-width="3.5" stroke-linecap="round"/>`
    : "";
  const ring = ended
    ? `<circle cx="16" cy="16" r="15" fill="${colour}"/>`
    : `<circle cx="16" cy="16" r="12" fill="none" stroke="${colour}" stroke-opacity=".25" stroke-width="6"/>` +
      `<circle cx="16" cy="16" r="12" fill="none" stroke="${colour}" stroke-width="6" stroke-dasharray="${arc.toFixed(1)} 99" transform="rotate(-90 16 16)"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${ring}${mark}</svg>`;
}

const HOME = `${ROOT}favicon.svg`;

/** Show a run in the tab's icon while mounted. Redrawn in steps of 2 %. */
export function useFavicon(status: RunStatus, progress: number | null): void {
  const steps = progress === null ? null : Math.round(progress * 50) / 50;
  useEffect(() => {
    const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
    if (link === null) return;
    link.href = `data:image/svg+xml,${encodeURIComponent(faviconSvg(status, steps))}`;
    return () => {
      link.href = HOME;
    };
  }, [status, steps]);
}

import type { ReactNode } from "react";
import type { RunStatus } from "../core/index.js";

const PATHS: Readonly<Record<RunStatus, ReactNode>> = {
  queued: <path d="M8 4.8V8l2.2 1.4" />,
  running: <path d="M8 2a6 6 0 0 1 6 6" />,
  retrying: <path d="M11.6 6.2A4 4 0 1 0 12 8.6M11.9 3.8v2.6H9.3" />,
  stalled: <path d="M6.4 5.6v4.8M9.6 5.6v4.8" />,
  succeeded: <path d="m5.2 8.2 2 2 3.6-4.2" />,
  failed: <path d="m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4" />,
  cancelled: <path d="M5 8h6" />,
  unknown: <path d="M8 8h.01" />,
};

export interface StatusIconProps {
  readonly status: RunStatus;
  /** The accessible name. Without it the icon is hidden from screen readers. */
  readonly label?: string;
}

/** A status as a shape: colour alone is not enough. */
export function StatusIcon({ status, label }: StatusIconProps): ReactNode {
  const naming =
    label === undefined ? { "aria-hidden": true as const } : { role: "img", "aria-label": label };
  return (
    <svg
      // The whole icon turns, not its path: a part of an SVG is painted anew for each frame, on a tenth of a core.
      className={status === "running" ? "rr-status-icon rr-spin" : "rr-status-icon"}
      data-status={status}
      viewBox="0 0 16 16"
      width="16"
      height="16"
      {...naming}
    >
      <circle cx="8" cy="8" r="6" />
      {PATHS[status]}
    </svg>
  );
}

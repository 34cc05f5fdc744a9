import type { ReactNode } from "react";
import type { ConnectionState } from "../core/index.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface ConnectionBadgeProps {
  readonly connection: ConnectionState;
  /** Show only the bars; the words become the accessible name. */
  readonly compact?: boolean;
  readonly words?: Words;
}

/** The status, transport and quality of a connection, in words. */
export function connectionWords({ status, transport, quality }: ConnectionState, words: Words): string[] {
  const parts = [
    words.connection[status],
    transport === null ? null : words.transport[transport],
    status === "connected" ? words.quality[quality] : null,
  ];
  return parts.filter((part) => part !== null);
}

const BARS = { excellent: 3, good: 2, poor: 1, critical: 0 } as const;

/** Whether the page is live, over which transport, and how good the connection is. */
export function ConnectionBadge({
  connection,
  compact = false,
  words = ENGLISH,
}: ConnectionBadgeProps): ReactNode {
  const { status, quality, statistics } = connection;
  const latency = statistics.latencyMs === null ? [] : [`${Math.round(statistics.latencyMs)} ms`];
  const detail = [...connectionWords(connection, words), ...latency].join(" · ");
  const bars = status === "connected" ? BARS[quality] : 0;
  return (
    <span className="rr-connection" data-status={status} data-quality={quality} title={detail}>
      <svg className="rr-bars" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
        {[0, 1, 2].map((bar) => (
          <rect
            key={bar}
            x={2 + bar * 4.5}
            y={10 - bar * 3.5}
            width="3"
            height={4 + bar * 3.5}
            rx="1"
            data-on={bar < bars}
          />
        ))}
      </svg>
      <span className={compact ? "rr-visually-hidden" : "rr-connection-text"}>
        {compact ? detail : words.connection[status]}
      </span>
    </span>
  );
}

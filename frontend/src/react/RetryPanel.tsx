import type { ReactNode } from "react";
import { ticking } from "./format.js";
import { useNow } from "./useNow.js";
import type { RunConnection } from "./useRun.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface RetryPanelProps {
  readonly connection: RunConnection;
  /** One line, without the reason and the advice. */
  readonly compact?: boolean;
  readonly words?: Words;
}

/** Why no data arrives, when the next retry is, and a button to retry now. Renders nothing while connected. */
export function RetryPanel({ connection, compact = false, words = ENGLISH }: RetryPanelProps): ReactNode {
  const { status, error, attempt, retryAt, retryInMs, retry } = connection;
  const waiting = retryAt !== null && retryInMs !== null;
  const now = useNow(waiting, 250);
  const refused = status === "closed" && error !== null;
  const shown =
    refused || status === "failed" || status === "offline" || (status === "reconnecting" && attempt > 0);
  if (!shown) return null;
  const advice = refused
    ? words.adviceClosed
    : status === "failed"
      ? words.adviceFailed
      : status === "offline"
        ? words.adviceOffline
        : words.adviceWaiting;
  // Before its first tick the shared clock may show an old time: limit the countdown to the whole wait.
  const leftMs = waiting && now > 0 ? Math.max(0, Math.min(retryInMs, retryAt - now)) : null;
  return (
    <div className="rr-retry" data-status={status} data-compact={compact || undefined}>
      <strong className="rr-retry-title" role="status">
        {words.connection[status]}
      </strong>
      {attempt > 0 && status !== "offline" && <span className="rr-retry-count">{words.tries(attempt)}</span>}
      {leftMs !== null && (
        <span className="rr-retry-wait">
          {words.retryIn(ticking(Math.ceil(leftMs / 1_000) * 1_000, words.units))}
        </span>
      )}
      {!compact && error !== null && <span className="rr-retry-error">{words.reason(error)}</span>}
      {!compact && <span className="rr-retry-advice">{advice}</span>}
      <button type="button" className="rr-button" onClick={retry}>
        {words.retryNow}
      </button>
    </div>
  );
}

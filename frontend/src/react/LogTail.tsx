import type { ReactNode, UIEvent } from "react";
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import type { LogLine } from "../core/index.js";
import { useThrottled } from "./useThrottled.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface LogTailProps {
  readonly logs: readonly LogLine[];
  /** Lines shown: the newest. */
  readonly lines?: number;
  /** Lines that exist and are not in `logs`. */
  readonly truncated?: number;
  readonly words?: Words;
}

/** On a server layout effects only warn. */
const useBrowserLayoutEffect = typeof window === "undefined" ? useEffect : useLayoutEffect;
/** A screen reader hears the latest line at most so often. */
const SPEAK_EVERY_MS = 5_000;

/** The end of the log; it follows until the reader scrolls up. */
export function LogTail({ logs, lines = 200, truncated = 0, words = ENGLISH }: LogTailProps): ReactNode {
  const box = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  const shown = logs.slice(-lines);
  const last = shown.at(-1)?.key ?? null;
  const spoken = useThrottled(shown.at(-1)?.message ?? "", SPEAK_EVERY_MS);
  const hidden = truncated + logs.length - shown.length;
  useBrowserLayoutEffect(() => {
    const element = box.current;
    // a new last line is the reason to scroll
    if (element !== null && following && last !== null) element.scrollTop = element.scrollHeight;
  }, [last, following]);

  const onScroll = (event: UIEvent<HTMLDivElement>) => {
    const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
    setFollowing(scrollHeight - scrollTop - clientHeight < 24);
  };

  return (
    <div className="rr-log">
      <div
        className="rr-log-lines"
        ref={box}
        onScroll={onScroll}
        role="log"
        aria-live="off"
        aria-label={words.log}
        tabIndex={0}
      >
        {hidden > 0 && <div className="rr-log-hidden">{words.earlierLines(hidden)}</div>}
        {shown.length === 0 && <div className="rr-log-empty">{words.noLog}</div>}
        {shown.map((line) => (
          <div key={line.key} className="rr-log-line" data-level={line.level ?? "info"}>
            {line.message}
          </div>
        ))}
      </div>
      <div className="rr-visually-hidden" role="status" aria-live="polite">
        {spoken}
      </div>
    </div>
  );
}

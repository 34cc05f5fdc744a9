import type { ReactNode } from "react";
import { useRef, useState } from "react";
import type { LogLine } from "../core/index.js";
import { LogBox, useFollowEnd } from "./LogBox.js";
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

/** The end of the log; it follows until the reader scrolls up. */
export function LogTail({ logs, lines = 200, truncated = 0, words = ENGLISH }: LogTailProps): ReactNode {
  const box = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  const shown = logs.slice(-lines);
  const last = shown.at(-1);
  const hidden = truncated + logs.length - shown.length;
  useFollowEnd(box, following, last?.key ?? null);
  return (
    <div className="rr-log">
      <LogBox
        box={box}
        className="rr-log-lines"
        label={words.log}
        following={following}
        onFollow={setFollowing}
        spoken={last?.message ?? ""}
      >
        {hidden > 0 && <div className="rr-log-hidden">{words.earlierLines(hidden)}</div>}
        {shown.length === 0 && <div className="rr-log-empty">{words.noLog}</div>}
        {shown.map((line) => (
          <div key={line.key} className="rr-log-line" data-level={line.level ?? "info"}>
            {line.message}
          </div>
        ))}
      </LogBox>
    </div>
  );
}

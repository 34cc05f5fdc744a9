import type { ReactNode } from "react";
import { useRef, useState } from "react";
import type { LogLine } from "../core/index.js";
import { LogBox, useFollowEnd } from "./LogBox.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface LogTailProps {
  readonly logs: readonly LogLine[];
  /** The number of lines shown, the newest. Default: 200. */
  readonly lines?: number;
  /** The number of lines before those in `logs` (`run.logsTruncated`). */
  readonly truncated?: number;
  /** Whether new lines are not said to screen readers. */
  readonly quiet?: boolean;
  readonly words?: Words;
}

/** The last lines of the log. It follows the end until the reader scrolls up. */
export function LogTail(props: LogTailProps): ReactNode {
  const { logs, lines = 200, truncated = 0, quiet = false, words = ENGLISH } = props;
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
        spoken={quiet ? "" : (last?.message ?? "")}
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

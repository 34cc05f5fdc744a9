import type { ReactNode } from "react";
import { memo } from "react";
import type { LogLine } from "../../react/index";
import { clock } from "../../react/index";
import { spans } from "./ansi";
import { pieces } from "./search";

export interface LogRowProps {
  readonly line: LogLine;
  readonly index: number;
  readonly number: number;
  readonly needle: string;
  readonly isHit: boolean;
  readonly startPx: number;
  readonly measure: (element: HTMLElement | null) => void;
}

export const LogRow = memo(function LogRow(props: LogRowProps): ReactNode {
  const { line, index, number, needle, isHit, startPx, measure } = props;
  return (
    <div
      ref={measure}
      data-index={index}
      className="log-row"
      data-level={line.level ?? "info"}
      data-hit={isHit || undefined}
      style={{ transform: `translateY(${startPx}px)` }}
    >
      <span className="log-number" aria-hidden="true">
        {number}
      </span>
      <time className="log-time">{line.ts === null ? "" : clock(line.ts)}</time>
      <span className="log-message">
        {line.step !== null && <span className="log-step">{line.step}</span>}
        {spans(line.message).map((span, spanIndex) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a line's spans never move
          <span key={spanIndex} className={span.style}>
            {pieces(span.text, needle).map((piece, pieceIndex) =>
              // biome-ignore lint/suspicious/noArrayIndexKey: nor do its pieces
              pieceIndex % 2 === 1 ? <mark key={pieceIndex}>{piece}</mark> : piece,
            )}
          </span>
        ))}
      </span>
    </div>
  );
});

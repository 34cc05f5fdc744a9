import type { CSSProperties, ReactNode } from "react";
import { memo } from "react";
import type { LogLine } from "../../react/index";
import { clock } from "../../react/index";
import { useWords } from "../words";
import type { Span } from "./ansi";
import { shownOf } from "./fold";
import { pieces } from "./search";

export interface LogRowProps {
  readonly line: LogLine;
  readonly index: number;
  readonly number: number;
  /** Shown above the row; null: nothing. */
  readonly heading: string | null;
  readonly needle: string;
  readonly isHit: boolean;
  /** Whether a long message is shown whole; `onWhole` is called with the line's key when the reader wants that. */
  readonly whole: boolean;
  readonly onWhole: (key: number) => void;
  readonly startPx: number;
  readonly measure: (element: HTMLElement | null) => void;
}

export const LogRow = memo(function LogRow(props: LogRowProps): ReactNode {
  const { line, index, number, heading, needle, isHit, whole, onWhole, startPx, measure } = props;
  const words = useWords();
  const shown = shownOf(line.message, whole || isHit);
  return (
    <div
      ref={measure}
      data-index={index}
      className="log-row"
      data-level={line.level ?? "info"}
      data-hit={isHit || undefined}
      style={{ transform: `translateY(${startPx}px)` }}
    >
      {heading !== null && <div className="log-heading">{heading}</div>}
      <span className="log-number" aria-hidden="true">
        {number}
      </span>
      <time className="log-time">{line.ts === null ? "" : clock(line.ts)}</time>
      <span className="log-message">
        {line.step !== null && <bdi className="log-step">{line.step}</bdi>}
        {shown.spans.map((span, spanIndex) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a line's spans never move
          <Text key={spanIndex} span={span} needle={needle} />
        ))}
      </span>
      {shown.hidden > 0 && (
        <button type="button" className="log-more" onClick={() => onWhole(line.key)}>
          {words.moreCharacters(shown.hidden)}
        </button>
      )}
    </div>
  );
});

function Text({ span, needle }: { span: Span; needle: string }): ReactNode {
  const { text, style, colour, href } = span;
  const content = pieces(text, needle).map((piece, index) =>
    // biome-ignore lint/suspicious/noArrayIndexKey: a span's pieces never move
    index % 2 === 1 ? <mark key={index}>{piece}</mark> : piece,
  );
  const own = colour === undefined ? undefined : ({ "--ansi": colour } as CSSProperties);
  if (href === undefined) {
    return (
      <span className={style} style={own}>
        {content}
      </span>
    );
  }
  return (
    <a className={`log-link ${style}`} style={own} href={href} target="_blank" rel="noopener noreferrer">
      {content}
    </a>
  );
}

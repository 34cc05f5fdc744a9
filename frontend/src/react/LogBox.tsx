import type { KeyboardEvent, PointerEvent, ReactNode, RefObject, UIEvent } from "react";
import { useEffect, useLayoutEffect } from "react";
import { useThrottled } from "./useThrottled.js";

export interface LogBoxProps {
  /** The scrolling element. */
  readonly box: RefObject<HTMLDivElement | null>;
  readonly className: string;
  readonly label: string;
  /** Whether the log stays at its end (see `useFollowEnd`). `onFollow` is called when the reader changes it. */
  readonly following: boolean;
  readonly onFollow: (following: boolean) => void;
  /** Whether scrolling to the end follows again, as it does by default. */
  readonly resumes?: boolean;
  /** The latest line, for screen readers: announced at most once in five seconds. */
  readonly spoken: string;
  readonly children?: ReactNode;
}

/** React warns about layout effects on a server. */
const useBrowserLayoutEffect = typeof window === "undefined" ? useEffect : useLayoutEffect;
const SPEAK_EVERY_MS = 5_000;
/** Nearer to the end than one line counts as at the end. */
const AT_END_PX = 20;
const UPWARDS = ["ArrowUp", "PageUp", "Home"];

/**
 * Keep a log at its end while `following`. `contentKey` has to change when the content grows. With a virtualizer, call
 * this hook after the virtualizer's: that one scrolls the box to its start when it is mounted.
 */
export function useFollowEnd(
  box: RefObject<HTMLElement | null>,
  following: boolean,
  contentKey: string | number | null,
): void {
  useBrowserLayoutEffect(() => {
    const element = box.current;
    if (element !== null && following) element.scrollTop = element.scrollHeight;
  }, [box, following, contentKey]);
}

/**
 * The scrolling box of a log. It calls `onFollow(false)` when the reader scrolls up, and `onFollow(true)` at the end
 * again.
 * Only the reader's wheel, key, finger or drag of the scrollbar stops it, never a scroll event: growing content causes
 * scroll events, too.
 */
export function LogBox(props: LogBoxProps): ReactNode {
  const { box, className, label, following, onFollow, resumes = true, spoken, children } = props;
  const announced = useThrottled(spoken, SPEAK_EVERY_MS);
  const stop = ({ currentTarget: { scrollHeight, clientHeight } }: UIEvent<HTMLDivElement>) => {
    // A log that fits into its box cannot be scrolled: no scroll event would start following again.
    if (following && scrollHeight > clientHeight) onFollow(false);
  };
  const resumeAtEnd = ({ currentTarget }: UIEvent<HTMLDivElement>) => {
    const { scrollTop, scrollHeight, clientHeight } = currentTarget;
    if (!following && resumes && scrollHeight - scrollTop - clientHeight < AT_END_PX) onFollow(true);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    if (UPWARDS.includes(event.key)) stop(event);
    if (event.key === "End") onFollow(true);
  };
  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    const { offsetX } = event.nativeEvent;
    const { clientWidth } = event.currentTarget;
    const isOnScrollbar = event.target === event.currentTarget && (offsetX < 0 || offsetX >= clientWidth);
    if (isOnScrollbar) stop(event);
  };
  return (
    <>
      <div
        className={className}
        ref={box}
        role="log"
        aria-live="off"
        aria-label={label}
        tabIndex={0}
        onScroll={resumeAtEnd}
        onKeyDown={onKeyDown}
        onWheel={(event) => event.deltaY < 0 && stop(event)}
        onTouchMove={stop}
        onTouchEnd={resumeAtEnd}
        onPointerDown={onPointerDown}
        onPointerMove={(event) => event.buttons === 1 && event.pointerType === "mouse" && stop(event)} // selects text
      >
        {children}
      </div>
      <div className="rr-visually-hidden" role="status" aria-live="polite">
        {announced}
      </div>
    </>
  );
}

import { useEffect, useRef, useState } from "react";

/**
 * The value, changed at most once in `everyMs`; the last value always arrives. For texts that a screen reader
 * announces.
 */
export function useThrottled<T>(value: T, everyMs: number): T {
  const [shown, setShown] = useState(value);
  const shownAt = useRef(Number.NEGATIVE_INFINITY);
  useEffect(() => {
    if (Object.is(value, shown)) return;
    const show = () => {
      shownAt.current = Date.now();
      setShown(value);
    };
    const waitMs = shownAt.current + everyMs - Date.now();
    const timer = setTimeout(show, Math.max(0, waitMs));
    return () => clearTimeout(timer);
  }, [value, shown, everyMs]);
  return shown;
}

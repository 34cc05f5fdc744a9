import { useEffect, useState } from "react";

/** The time now, moving while `active`; a server renders 0, so that both sides agree at hydration. */
export function useNow(active: boolean, everyMs = 1_000): number {
  const [now, setNow] = useState(0);
  useEffect(() => {
    setNow(Date.now());
    if (!active) return;
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [active, everyMs]);
  return now;
}

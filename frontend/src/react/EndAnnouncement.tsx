import type { ReactNode } from "react";
import { useEffect, useRef, useState } from "react";
import type { RunStatus } from "../core/index.js";
import { isEnded } from "../core/index.js";

export interface EndAnnouncementProps {
  readonly status: RunStatus;
  /** What is said when the run ends: a text for the status that it has then. */
  readonly text: (status: RunStatus) => string;
}

/**
 * Tells screen readers that a run has ended while it was watched: politely, or at once if it has failed. A run that had
 * ended before is not announced.
 */
export function EndAnnouncement({ status, text }: EndAnnouncementProps): ReactNode {
  const before = useRef(status);
  const [ended, setEnded] = useState<RunStatus | null>(null);
  useEffect(() => {
    const wasWatched = before.current !== "unknown" && !isEnded(before.current);
    before.current = status;
    if (!isEnded(status)) setEnded(null);
    else if (wasWatched) setEnded(status);
  }, [status]);
  const said = ended === null ? "" : text(ended);
  return (
    <>
      <div className="rr-visually-hidden" role="status">
        {ended === "failed" ? "" : said}
      </div>
      {ended === "failed" && (
        <div className="rr-visually-hidden" role="alert">
          {said}
        </div>
      )}
    </>
  );
}

import type { ReactNode } from "react";
import { Icon } from "./icons";

export interface NoticeProps {
  readonly title: string;
  readonly detail?: string;
  readonly tone?: "plain" | "warn" | "bad";
  readonly action?: { readonly label: string; readonly run: () => void };
}

/** A notice: a title, a detail, and an action. */
export function Notice({ title, detail, tone = "plain", action }: NoticeProps): ReactNode {
  return (
    <div className="notice" data-tone={tone} role={tone === "plain" ? undefined : "alert"}>
      {tone !== "plain" && <Icon name="warn" />}
      <div>
        <p className="notice-title">{title}</p>
        {detail !== undefined && detail !== "" && <p className="muted">{detail}</p>}
      </div>
      {action !== undefined && (
        <button type="button" className="button" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  );
}

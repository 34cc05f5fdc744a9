import type { ReactNode } from "react";
import { useEffect, useRef, useState } from "react";

export interface MenuProps {
  readonly label: string;
  readonly button: ReactNode;
  readonly children: ReactNode;
}

/** A button that opens a small panel. Escape and a click outside close it. */
export function Menu({ label, button, children }: MenuProps): ReactNode {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const trigger = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const owner = new AbortController();
    const { signal } = owner;
    document.addEventListener(
      "pointerdown",
      (event) => !root.current?.contains(event.target as Node) && setOpen(false),
      { signal },
    );
    document.addEventListener(
      "keydown",
      (event) => {
        if (event.key !== "Escape") return;
        setOpen(false);
        trigger.current?.focus();
      },
      { signal },
    );
    return () => owner.abort();
  }, [open]);
  return (
    <div className="menu" ref={root}>
      <button
        ref={trigger}
        type="button"
        className="menu-button"
        aria-expanded={open}
        aria-label={label}
        onClick={() => setOpen(!open)}
      >
        {button}
      </button>
      {open && (
        <div className="menu-panel" role="group" aria-label={label}>
          {children}
        </div>
      )}
    </div>
  );
}

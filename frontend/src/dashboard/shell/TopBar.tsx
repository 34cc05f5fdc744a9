import type { ReactNode } from "react";
import { Link } from "../Link";
import { ROOT } from "../root";
import { newPath } from "../router";
import { useWords } from "../words";
import { ConnectionMenu } from "./ConnectionMenu";
import { OptionsMenu } from "./OptionsMenu";

export function TopBar({ page }: { page: string }): ReactNode {
  const words = useWords();
  return (
    <header className="top">
      <a className="skip" href="#content">
        {words.skip}
      </a>
      <Link className="brand" href={ROOT} aria-label="Runrelay">
        <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
          <path d="M5 22.5 12 9.5l4.5 8.2" className="brand-a" />
          <path d="M13 22.5 20 9.5l7 13" className="brand-b" />
        </svg>
        <span className="brand-name">Runrelay</span>
      </Link>
      <nav className="nav">
        <Link href={ROOT} aria-current={page === "runs" ? "page" : undefined}>
          {words.runs}
        </Link>
        <Link href={newPath()} aria-current={page === "new" ? "page" : undefined}>
          {words.newRun}
        </Link>
      </nav>
      <div className="top-end">
        <ConnectionMenu />
        <OptionsMenu />
      </div>
    </header>
  );
}

import type { ReactNode } from "react";
import { useEffect, useRef } from "react";
import { CloseCode, useConnection, useRelayClient } from "../react/index";
import { Link } from "./Link";
import { NewRunPage } from "./pages/NewRunPage";
import { RunPage } from "./pages/RunPage";
import { RunsPage } from "./pages/RunsPage";
import { ROOT } from "./root";
import { pageOf, useAddress } from "./router";
import { SignIn } from "./shell/SignIn";
import { TopBar } from "./shell/TopBar";
import { useWords } from "./words";

export function App(): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  useEffect(() => relay.stayConnected(), [relay]);
  const { status, error } = useConnection();
  const refused = status === "closed" && error?.code === CloseCode.UNAUTHORIZED;
  const page = pageOf(useAddress().split("?")[0] ?? "/");
  const place = page.name === "run" ? page.runId : page.name;
  const content = useRef<HTMLElement>(null);
  const shown = useRef(place);
  useEffect(() => {
    if (shown.current === place) return;
    shown.current = place;
    content.current?.focus({ preventScroll: true }); // else the focus stays with a link that is no longer there
  }, [place]);
  return (
    <>
      <TopBar page={page.name} />
      <main id="content" ref={content} tabIndex={-1}>
        {refused && <SignIn />}
        {!refused && page.name === "runs" && <RunsPage />}
        {!refused && page.name === "run" && <RunPage key={page.runId} runId={page.runId} />}
        {!refused && page.name === "new" && <NewRunPage pipeline={page.pipeline} />}
        {page.name === "missing" && (
          <div className="page">
            <div className="empty">
              <h1 className="empty-title">{words.missing}</h1>
              <p className="muted">{words.missingHint}</p>
              <Link className="button" href={ROOT}>
                {words.backToRuns}
              </Link>
            </div>
          </div>
        )}
      </main>
    </>
  );
}

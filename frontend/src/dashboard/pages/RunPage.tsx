import type { ReactNode } from "react";
import { useEffect, useState } from "react";
import type { UseRun } from "../../react/index";
import {
  duration,
  EndAnnouncement,
  isEnded,
  percent,
  RetryPanel,
  RunProgress,
  roughDuration,
  StatusIcon,
  ticking,
  useRelayClient,
  useRun,
} from "../../react/index";
import { useNow } from "../../react/useNow";
import { Icon } from "../icons";
import { Link } from "../Link";
import { LogView } from "../log/LogView";
import { Notice } from "../Notice";
import { notifyEnd } from "../notifications";
import { ROOT } from "../root";
import { useFavicon, useTitle } from "../title";
import { useWords } from "../words";
import { Attempts } from "./Attempts";
import { DataPanel } from "./DataPanel";
import { ErrorPanel } from "./ErrorPanel";
import { Facts } from "./Facts";
import { ResultPanel } from "./ResultPanel";
import { RunActions } from "./RunActions";
import { RunTitle } from "./RunTitle";
import { Timeline } from "./Timeline";

/** The page of one run, live. */
export function RunPage({ runId }: { runId: string }): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const notify = (run: UseRun["run"]) =>
    notifyEnd(words.notifyEnded(run.title ?? run.runId, words.status[run.status]), run.error ?? "");
  const watched = useRun(runId, { onComplete: notify, onFailed: notify });
  const { run, connection, status } = watched;
  /** The step whose lines the log shows; null: the lines of all. */
  const [step, setStep] = useState<string | null>(null);
  const ended = isEnded(status);
  const name = run.title ?? runId;
  useTitle(
    ended || run.progress === null
      ? `${run.known ? `${words.status[status]} · ` : ""}${name}`
      : `${percent(run.progress)} · ${name}`,
  );
  useFavicon(status, run.progress);
  const refused = connection.status === "closed" && connection.error !== null;

  return (
    <div className="page run-page" data-status={status}>
      <header className="run-head">
        <Link className="back" href={ROOT}>
          <Icon name="back" /> {words.runs}
        </Link>
        <div className="run-head-main">
          <RunTitle name={name} />
          {status !== "unknown" && (
            <span className="chip" data-status={status}>
              <StatusIcon status={status} />
              {words.status[status]}
            </span>
          )}
          {run.attempt > 1 && <span className="chip">{words.attempt(run.attempt)}</span>}
          <RunActions watched={watched} />
        </div>
      </header>
      <Banner watched={watched} />
      <EndAnnouncement status={status} text={(end) => words.notifyEnded(name, words.status[end])} />
      <RetryPanel connection={connection} words={words} />
      {status === "unknown" && !refused ? (
        <div className="empty">
          <p className="empty-title">{run.known ? words.unknownRun : words.loading}</p>
          <p className="muted">{run.known ? words.unknownRunHint : <span className="mono">{runId}</span>}</p>
        </div>
      ) : (
        !refused && (
          <>
            <Progress watched={watched} />
            <div className="run-body">
              <div className="run-side">
                {run.error !== null && (status === "failed" || status === "retrying") && (
                  <ErrorPanel error={run.error} />
                )}
                {run.result !== null && <ResultPanel runId={runId} result={run.result} name={name} />}
                <Timeline run={run} step={step} onStep={setStep} />
                <Attempts run={run} />
                {run.data !== null && <DataPanel data={run.data} />}
                <Facts run={run} />
              </div>
              <LogView
                run={run}
                downloadUrl={relay.api.logsUrl(runId, { details: true })}
                live={!ended}
                step={step}
                onStep={setStep}
              />
            </div>
          </>
        )
      )}
    </div>
  );
}

/** A lost connection is shown after this time: a restart of the relay is over by then. */
const PATIENCE_MS = 1_500;

/** The banner: the state may be old, and why. */
function Banner({ watched }: { watched: UseRun }): ReactNode {
  const words = useWords();
  const { run, connection, isStale } = watched;
  const [patient, setPatient] = useState(true);
  const lost = isStale && !run.stale && connection.upstream === "up";
  useEffect(() => {
    setPatient(true);
    if (!lost) return;
    const timer = setTimeout(() => setPatient(false), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [lost]);
  if (connection.upstream === "down") return <Notice tone="warn" title={words.relayAway} />;
  if (run.stale) return <Notice tone="warn" title={words.expired} />;
  // In these states RetryPanel shows a countdown.
  if (
    lost &&
    !patient &&
    connection.status !== "reconnecting" &&
    connection.status !== "offline" &&
    connection.status !== "failed"
  ) {
    return <Notice tone="warn" title={words.connectionLost} />;
  }
  return run.recovered ? null : <Notice title={words.notRecovered} />;
}

function Progress({ watched }: { watched: UseRun }): ReactNode {
  const words = useWords();
  const { run, status, etaMs, lastEventAt } = watched;
  const ended = isEnded(status);
  const now = useNow(!ended, 1_000);
  const begun = run.startedAt ?? run.createdAt;
  // An event may be newer than the clock's last tick. The timeline counts it, too.
  const end = ended ? (run.finishedAt ?? run.updatedAt) : now && Math.max(now, run.updatedAt ?? 0);
  const elapsedMs = begun === null || end === null || end === 0 ? null : Math.max(0, end - begun);
  // The estimate begins at the last event: subtract the time since then.
  const leftMs =
    etaMs === null || lastEventAt === null || now === 0 ? null : etaMs - Math.max(0, now - lastEventAt);
  return (
    <section className="hero" data-status={status} aria-label={words.progress}>
      <RunProgress run={run} words={words}>
        {!ended && <span className="hero-state">{run.state ?? words.status[status]}</span>}
        <span className="hero-times">
          {elapsedMs !== null && (
            <span>
              <span className="muted">{words.elapsed}</span>{" "}
              {(ended ? duration : ticking)(elapsedMs, words.units)}
            </span>
          )}
          {!ended && leftMs !== null && leftMs > 0 && (
            <span>
              <span className="muted">{words.left}</span> ~{roughDuration(leftMs, words.units)}
            </span>
          )}
        </span>
      </RunProgress>
    </section>
  );
}

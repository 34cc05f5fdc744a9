import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useEffect, useMemo, useRef, useState } from "react";
import type { StatusFilter } from "../../react/index";
import { RetryPanel, STATUS_SETS, useConnection, useRelayClient, useRuns } from "../../react/index";
import { Icon } from "../icons";
import { Link } from "../Link";
import { Notice } from "../Notice";
import { ROOT } from "../root";
import { navigate, newPath, runPath, useAddress } from "../router";
import { useTitle } from "../title";
import { useWords } from "../words";
import { RunRow } from "./RunRow";

const SEGMENTS = [undefined, "active", "succeeded", "failed", "cancelled"] as const;

/** The page with the list of runs, live. Its filters are in the address. */
export function RunsPage(): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const connection = useConnection();
  const address = useAddress();
  const search = useRef<HTMLInputElement>(null);
  const table = useRef<HTMLUListElement>(null);
  const params = useMemo(() => new URLSearchParams(address.split("?")[1] ?? ""), [address]);
  const status = statusOf(params.get("status"));
  const pipeline = params.get("pipeline") ?? "";
  const text = params.get("q") ?? "";
  const q = useSettled(text, 150);
  const {
    runs: fetched,
    status: loaded,
    error,
    hasMore,
    loadingMore,
    loadMore,
    refresh,
  } = useRuns({ status, pipeline, q, limit: 50 });
  // While the runs of a new filter are fetched, the old ones stay: the list would flicker at each key.
  const [last, setLast] = useState(fetched);
  if (loaded === "ready" && last !== fetched) setLast(fetched);
  const runs = loaded === "loading" ? last : fetched;
  const pipelines = useQuery({
    queryKey: ["pipelines"],
    queryFn: ({ signal }) => relay.api.pipelines(signal),
  });
  useTitle(words.runs);

  const setFilter = (change: Readonly<Record<string, string>>) => {
    const next = new URLSearchParams(params);
    for (const [name, value] of Object.entries(change)) {
      if (value === "") next.delete(name);
      else next.set(name, value);
    }
    const query = next.toString();
    navigate(query === "" ? ROOT : `${ROOT}?${query}`, "replace");
  };

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.target instanceof HTMLElement && event.target.closest("input, textarea, select")) return;
      if (event.metaKey || event.ctrlKey || event.altKey) return;
      if (event.key === "/") {
        event.preventDefault();
        search.current?.focus();
      } else if (event.key === "n") navigate(newPath());
      else if (event.key === "j" || event.key === "k") {
        const rows = [...(table.current?.querySelectorAll<HTMLElement>("a.run-row") ?? [])];
        const at = rows.indexOf(document.activeElement as HTMLElement);
        rows[Math.max(0, Math.min(rows.length - 1, at + (event.key === "j" ? 1 : -1)))]?.focus();
      }
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);

  const filtered = status !== undefined || pipeline !== "" || text !== "";
  const clear = { label: words.clearFilters, run: () => setFilter({ status: "", pipeline: "", q: "" }) };
  return (
    <div className="page">
      <header className="page-head">
        <h1>{words.runs}</h1>
        <Link className="button button-primary" href={newPath()}>
          <Icon name="plus" /> {words.newRun}
        </Link>
      </header>
      <div className="filters">
        <div className="segments" role="group" aria-label={words.state}>
          {SEGMENTS.map((name) => (
            <button
              key={name ?? ""}
              type="button"
              className="segment"
              aria-pressed={status === name}
              onClick={() => setFilter({ status: name ?? "" })}
            >
              {name === undefined ? words.all : name === "active" ? words.active : words.status[name]}
            </button>
          ))}
        </div>
        <label className="log-search filter-search">
          <Icon name="search" />
          <input
            ref={search}
            type="search"
            value={text}
            placeholder={words.searchHint}
            aria-label={words.search}
            onChange={(event) => setFilter({ q: event.target.value })}
            onKeyDown={(event) => event.key === "Escape" && event.currentTarget.blur()}
          />
          <kbd aria-hidden="true">/</kbd>
        </label>
        {(pipelines.data?.length ?? 0) > 0 && (
          <select
            className="select"
            aria-label={words.pipeline}
            value={pipeline}
            onChange={(event) => setFilter({ pipeline: event.target.value })}
          >
            <option value="">{words.anyPipeline}</option>
            {pipelines.data?.map(({ name, title }) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        )}
      </div>
      <RetryPanel connection={{ ...connection, retry: () => relay.reconnect() }} words={words} />
      {connection.upstream === "down" && <Notice tone="warn" title={words.relayAway} />}
      {error !== null && (
        <Notice
          tone="bad"
          title={words.listFailed}
          detail={error.message}
          action={{ label: words.tryAgain, run: refresh }}
        />
      )}
      {loaded === "loading" && runs.length === 0 && <Skeleton label={words.loading} />}
      {loaded === "ready" && runs.length === 0 && error === null && (
        <div className="empty">
          <p className="empty-title">{filtered ? words.noMatches : words.noRuns}</p>
          <p className="muted">{filtered ? words.noMatchesHint : words.noRunsHint}</p>
          {filtered ? (
            <button type="button" className="button" onClick={clear.run}>
              {clear.label}
            </button>
          ) : (
            <Link className="button" href={newPath()}>
              {words.newRun}
            </Link>
          )}
        </div>
      )}
      {runs.length > 0 && (
        <ul
          className="run-list"
          data-old={loaded === "loading" || undefined}
          ref={table}
          aria-label={words.runs}
        >
          {runs.map((run) => (
            <li key={run.runId}>
              <RunRow run={run} href={runPath(run.runId)} />
            </li>
          ))}
        </ul>
      )}
      {hasMore && (
        <button type="button" className="button load-more" disabled={loadingMore} onClick={loadMore}>
          {loadingMore ? words.loading : words.loadMore}
        </button>
      )}
    </div>
  );
}

/** The status filter in the address; undefined when it is missing or unknown. */
function statusOf(text: string | null): StatusFilter | undefined {
  const known: readonly string[] = [...Object.keys(STATUS_SETS), ...Object.values(STATUS_SETS).flat()];
  return text !== null && known.includes(text) ? (text as StatusFilter) : undefined;
}

/** The value after it has not changed for `forMs`: one request for each word, not for each letter. */
function useSettled<T>(value: T, forMs: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), forMs);
    return () => clearTimeout(timer);
  }, [value, forMs]);
  return settled;
}

function Skeleton({ label }: { label: string }): ReactNode {
  return (
    <div className="run-list" role="status" aria-label={label}>
      {[0, 1, 2, 3, 4].map((row) => (
        <div key={row} className="run-row">
          <span className="skeleton skeleton-dot" />
          <span className="skeleton skeleton-line" />
        </div>
      ))}
    </div>
  );
}

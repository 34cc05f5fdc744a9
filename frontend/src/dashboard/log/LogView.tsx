import { useVirtualizer } from "@tanstack/react-virtual";
import type { ClipboardEvent, KeyboardEvent, ReactNode } from "react";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { LogLevel, RunState } from "../../react/index";
import { LogBox, useFollowEnd } from "../../react/index";
import { Icon } from "../icons";
import { setPreferences, usePreferences } from "../preferences";
import { useWords } from "../words";
import { plain } from "./ansi";
import { attemptOf } from "./beginnings";
import { LogRow } from "./LogRow";
import { atLeast, hits, ofStep } from "./search";
import { useBeginnings } from "./useBeginnings";
import { useOlderLines } from "./useOlderLines";

export interface LogViewProps {
  readonly run: RunState;
  readonly downloadUrl: string;
  /** Whether the run may still add lines. */
  readonly live: boolean;
  /** The step whose lines are shown; null: the lines of all. */
  readonly step: string | null;
  readonly onStep: (step: string | null) => void;
}

const ROW_PX = 20;
/** Nearer to the top than this, earlier lines are loaded. */
const LOAD_AT_PX = 400;
const LEVELS: readonly LogLevel[] = ["debug", "info", "warning", "error"];

/** The log of a run, of any length. It follows the end until the reader scrolls up. */
export function LogView({ run, downloadUrl, live, step, onStep }: LogViewProps): ReactNode {
  const words = useWords();
  const { wrap } = usePreferences();
  const box = useRef<HTMLDivElement>(null);
  const searchBox = useRef<HTMLInputElement>(null);
  const [level, setLevel] = useState<LogLevel>("debug");
  const [needle, setNeedle] = useState("");
  const [hit, setHit] = useState(0);
  const [following, setFollowing] = useState(true);
  const [copied, setCopied] = useState(false);
  /** The keys of the long lines that are shown whole. */
  const [whole, setWhole] = useState<ReadonlySet<number>>(new Set());
  /** The key of the last line when the reader stopped following: newer lines are counted. */
  const [leftAt, setLeftAt] = useState(0);

  const older = useOlderLines(run);
  const logs = useMemo(
    () => (older.lines.length === 0 ? run.logs : [...older.lines, ...run.logs]),
    [older.lines, run.logs],
  );
  const lines = useMemo(() => ofStep(atLeast(logs, level), step), [logs, level, step]);
  const found = useMemo(() => hits(lines, needle), [lines, needle]);
  const current = found.length === 0 ? null : (found[Math.min(hit, found.length - 1)] ?? null);
  const lastKey = lines.at(-1)?.key ?? -1;

  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    // A row has another height without wrapping. With another key it is measured again.
    getItemKey: useCallback(
      (index: number) => (wrap ? (lines[index]?.key ?? index) : -1 - (lines[index]?.key ?? index)),
      [lines, wrap],
    ),
    overscan: 12,
  });

  const totalPx = virtual.getTotalSize();
  useFollowEnd(box, following, `${totalPx} ${lastKey}`);

  const { load } = older;
  const isFiltered = needle !== "" || level !== "debug" || step !== null;
  useEffect(() => {
    if (isFiltered) load(true); // a search, a level and a step mean all that is kept
  }, [isFiltered, load]);
  useEffect(() => {
    const element = box.current;
    const onScroll = () => {
      if (element !== null && !following && element.scrollTop < LOAD_AT_PX) load();
    };
    element?.addEventListener("scroll", onScroll);
    return () => element?.removeEventListener("scroll", onScroll);
  }, [following, load]);
  const heightPx = useRef(0);
  const olderShown = useRef(0);
  // What is added above must not move what is being read.
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    if (olderShown.current !== older.lines.length && !following)
      element.scrollTop += element.scrollHeight - heightPx.current;
    olderShown.current = older.lines.length;
    heightPx.current = element.scrollHeight;
  });

  const newestKey = useRef(lastKey);
  useEffect(() => {
    newestKey.current = lastKey;
  });
  useEffect(() => {
    if (current === null) return;
    setFollowing(false);
    setLeftAt(newestKey.current);
    virtual.scrollToIndex(current, { align: "center" });
  }, [current, virtual]);

  useEffect(() => {
    const onKey = (event: globalThis.KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, select");
      if (typing || event.metaKey || event.ctrlKey || event.altKey) return;
      if (event.key === "/") {
        event.preventDefault();
        searchBox.current?.focus();
      } else if (event.key === "f") setFollowing(true);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);

  /** Selected rows are copied with their time on the line: as parts of a grid they would be lines of their own. */
  const onCopy = (event: ClipboardEvent<HTMLElement>) => {
    const selection = getSelection();
    const rows = [...event.currentTarget.querySelectorAll<HTMLElement>(".log-row")];
    const chosen = rows.filter((row) => selection?.containsNode(row, true));
    if (chosen.length < 2) return;
    chosen.sort((a, b) => Number(a.dataset.index) - Number(b.dataset.index));
    const part = (row: HTMLElement, name: string) => row.querySelector(name)?.textContent ?? "";
    const text = chosen.map((row) => `${part(row, ".log-time")} ${part(row, ".log-message")}`).join("\n");
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  };
  const stopFollowing = () => {
    if (!following) return;
    setFollowing(false);
    setLeftAt(lastKey);
  };
  const stop = useRef(stopFollowing);
  useEffect(() => {
    stop.current = stopFollowing;
  });
  const showWhole = useCallback((key: number) => {
    stop.current(); // the reader begins to read here
    setWhole((before) => new Set([...before, key]));
  }, []);
  const firstShown = useRef<number | null>(null);
  const toggleWrap = () => {
    const topPx = box.current?.scrollTop ?? 0;
    firstShown.current = virtual.getVirtualItems().find((item) => item.end > topPx)?.index ?? null;
    setPreferences({ wrap: !wrap });
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: when the rows have other heights
  useEffect(() => {
    if (firstShown.current !== null && !following)
      virtual.scrollToIndex(firstShown.current, { align: "start" });
    firstShown.current = null;
  }, [wrap]);
  const beginnings = useBeginnings(run);
  const headingOf = (index: number) => {
    const attempt = run.attempt > 1 ? attemptOf(lines[index], beginnings) : null;
    const before = index === 0 ? 0 : attemptOf(lines[index - 1], beginnings);
    return attempt === null || before === null || attempt === before ? null : words.attempt(attempt);
  };
  const walk = (by: number) => setHit((before) => (before + by + found.length) % Math.max(1, found.length));
  const onSearchKey = (event: KeyboardEvent) => {
    if (event.key === "Enter") walk(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") {
      setNeedle("");
      box.current?.focus();
    }
  };
  const copy = async () => {
    await navigator.clipboard.writeText(lines.map((line) => plain(line.message)).join("\n"));
    setCopied(true);
  };
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1_500);
    return () => clearTimeout(timer);
  }, [copied]);

  const fresh = following
    ? 0
    : Math.max(0, lines.length - 1 - lines.findLastIndex((line) => line.key <= leftAt));
  const firstNumber = run.logsTruncated + 1 - older.lines.length;
  return (
    <section className="log" aria-label={words.log} onCopy={onCopy}>
      <div className="log-bar">
        <h2 className="panel-title">{words.log}</h2>
        <span className="muted log-count">{words.lines(run.logsTruncated + run.logs.length)}</span>
        {step !== null && (
          <button type="button" className="log-chip" title={words.allSteps} onClick={() => onStep(null)}>
            <span className="log-chip-name">{step}</span>
            <span className="visually-hidden">{words.allSteps}</span>
            <Icon name="close" />
          </button>
        )}
        <label className="log-search">
          <Icon name="search" />
          <input
            ref={searchBox}
            type="search"
            value={needle}
            placeholder={words.searchLog}
            aria-label={words.searchLog}
            onChange={(event) => {
              setNeedle(event.target.value);
              setHit(0);
            }}
            onKeyDown={onSearchKey}
          />
          {needle === "" ? (
            <kbd aria-hidden="true">/</kbd>
          ) : (
            <span className="muted log-hits" role="status">
              {words.matchOf(found.length === 0 ? 0 : Math.min(hit, found.length - 1) + 1, found.length)}
            </span>
          )}
        </label>
        {needle !== "" && (
          <span className="button-group">
            <button
              type="button"
              className="icon-button"
              title={words.previousMatch}
              aria-label={words.previousMatch}
              disabled={found.length === 0}
              onClick={() => walk(-1)}
            >
              <Icon name="up" />
            </button>
            <button
              type="button"
              className="icon-button"
              title={words.nextMatch}
              aria-label={words.nextMatch}
              disabled={found.length === 0}
              onClick={() => walk(1)}
            >
              <Icon name="next" />
            </button>
          </span>
        )}
        <select
          className="select"
          aria-label={words.level}
          value={level}
          onChange={(event) => setLevel(event.target.value as LogLevel)}
        >
          {LEVELS.map((name) => (
            <option key={name} value={name}>
              {name === "debug" ? words.everything : words.levels[name]}
            </option>
          ))}
        </select>
        <button
          type="button"
          className="button log-follow"
          aria-pressed={following}
          aria-label={following ? words.following : words.follow}
          onClick={() => (following ? stopFollowing() : setFollowing(true))}
        >
          <Icon name="down" />
          <span>{following ? words.following : words.follow}</span>
        </button>
        <span className="button-group">
          <button
            type="button"
            className="icon-button"
            title={words.wrap}
            aria-label={words.wrap}
            aria-pressed={wrap}
            onClick={toggleWrap}
          >
            <Icon name="wrap" />
          </button>
          <button
            type="button"
            className="icon-button"
            title={copied ? words.copied : words.copy}
            aria-label={copied ? words.copied : words.copy}
            onClick={() => void copy()}
          >
            <Icon name={copied ? "check" : "copy"} />
          </button>
          <a
            className="icon-button"
            title={words.download}
            aria-label={words.download}
            href={downloadUrl}
            download
          >
            <Icon name="download" />
          </a>
        </span>
      </div>
      <LogBox
        box={box}
        className="log-box"
        label={words.log}
        following={following}
        onFollow={(wanted) => (wanted ? setFollowing(true) : stopFollowing())}
        // While a match is shown, the log stays at it.
        resumes={current === null}
        spoken={live ? plain(lines.at(-1)?.message ?? "") : ""}
      >
        {older.more > 0 && (
          <button type="button" className="log-older" onClick={() => load()}>
            <Icon name="up" /> {older.failed ? words.olderFailed : words.older(older.more)}
          </button>
        )}
        {older.trimmed > 0 && <p className="log-gone muted">{words.trimmedLines(older.trimmed)}</p>}
        {lines.length === 0 && (
          <p className="log-empty muted">
            {logs.length === 0 ? words.noLines : step === null ? words.noLinesMatch : words.noLinesOfStep}
          </p>
        )}
        <div className="log-space" data-wrap={wrap} style={{ height: totalPx }}>
          {virtual.getVirtualItems().map((item) => {
            const line = lines[item.index];
            if (line === undefined) return null;
            return (
              <LogRow
                key={item.key}
                line={line}
                index={item.index}
                number={firstNumber + (lines === logs ? item.index : line.key - (logs[0]?.key ?? 0))}
                heading={headingOf(item.index)}
                needle={needle}
                isHit={item.index === current}
                whole={whole.has(line.key)}
                onWhole={showWhole}
                startPx={item.start}
                measure={virtual.measureElement}
              />
            );
          })}
        </div>
      </LogBox>
      {!following && live && fresh > 0 && (
        <button type="button" className="log-latest" onClick={() => setFollowing(true)}>
          <Icon name="down" /> {words.newLines(fresh)}
        </button>
      )}
    </section>
  );
}

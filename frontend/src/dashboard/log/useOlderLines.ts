import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { LogLine, RunState } from "../../react/index";
import { useRelayClient } from "../../react/index";

export interface OlderLines {
  /** The loaded lines before those of the run, with keys that lead up to theirs. */
  readonly lines: readonly LogLine[];
  /** Number of lines before `lines` that the server still keeps. */
  readonly more: number;
  /** Number of the run's first lines that the server no longer keeps. */
  readonly trimmed: number;
  readonly failed: boolean;
  /** Load one more page, or all of them. */
  readonly load: (all?: boolean) => void;
}

interface Loaded {
  /** Keys are the lines' numbers in the run. */
  readonly lines: readonly LogLine[];
  readonly trimmed: number;
  readonly failed: boolean;
}

const NOTHING: Loaded = { lines: [], trimmed: 0, failed: false };

/**
 * The lines of a log before those that the client has, loaded page by page. A line has its number in the run for good,
 * so a page fits without a hole and without a double however many lines have come meanwhile.
 */
export function useOlderLines(run: RunState): OlderLines {
  const { api } = useRelayClient();
  const { runId, logs, logsTruncated, logsTrimmed } = run;
  const [loaded, setLoaded] = useState<Loaded>(NOTHING);
  const epoch = run.cursor.split("-")[0];
  const loading = useRef<AbortController | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another log has other lines
  useEffect(() => {
    setLoaded(NOTHING);
    return () => {
      loading.current?.abort();
      loading.current = null;
    };
  }, [runId, epoch]);

  const firstNumber = logsTruncated + 1;
  const keyOffset = (logs[0]?.key ?? 0) - firstNumber;
  const kept = useMemo(() => {
    const fitting = loaded.lines.filter((line) => line.key < firstNumber);
    // The client has dropped lines in between: a hole is worse than to load them again.
    return fitting.at(-1)?.key === firstNumber - 1 ? fitting : [];
  }, [loaded.lines, firstNumber]);
  const lines = useMemo(
    () => kept.map((line) => ({ ...line, key: line.key + keyOffset })),
    [kept, keyOffset],
  );
  const next = kept[0]?.key ?? firstNumber;
  const trimmed = Math.min(Math.max(loaded.trimmed, logsTrimmed), next - 1);
  const more = logs.length === 0 ? 0 : next - 1 - trimmed;

  const position = useRef({ kept, next, more });
  useEffect(() => {
    position.current = { kept, next, more };
  });
  const load = useCallback(
    (all = false) => {
      if (loading.current !== null || position.current.more === 0) return;
      const controller = new AbortController();
      loading.current = controller;
      const read = async () => {
        let { kept: have, next: before } = position.current;
        do {
          const page = await api.logs(runId, before, controller.signal);
          have = [...page.lines, ...have];
          before = page.lines[0]?.key ?? before;
          const more = page.lines.length > 0 && before > page.trimmed + 1;
          setLoaded({ lines: have, trimmed: more ? page.trimmed : before - 1, failed: false });
          if (!more) break;
        } while (all);
      };
      read()
        .catch(() => {
          if (!controller.signal.aborted) setLoaded((before) => ({ ...before, failed: true }));
        })
        .finally(() => {
          if (loading.current === controller) loading.current = null;
        });
    },
    [api, runId],
  );
  return { lines, more, trimmed, failed: loaded.failed, load };
}

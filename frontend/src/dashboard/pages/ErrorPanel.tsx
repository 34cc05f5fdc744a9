import type { ReactNode } from "react";
import { CopyButton } from "../CopyButton";
import { useWords } from "../words";

/** An error: its message, and the traceback, which unfolds. */
export function ErrorPanel({ error }: { error: string }): ReactNode {
  const words = useWords();
  const lines = error.trimEnd().split("\n");
  const isTraceback =
    lines.length > 1 && /^Traceback|^\s+File "/.test(lines.find((line) => line.trim() !== "") ?? "");
  const headline = isTraceback ? (lines.at(-1) ?? "") : (lines[0] ?? "");
  const rest = isTraceback ? error : lines.slice(1).join("\n");
  return (
    <section className="panel panel-bad" aria-label={words.error}>
      <header className="panel-head">
        <h2 className="panel-title">{words.error}</h2>
        <CopyButton text={error} />
      </header>
      <p className="error-line">{headline}</p>
      {rest.trim() !== "" && (
        <details>
          <summary>{words.traceback}</summary>
          <pre className="code" tabIndex={0}>
            {rest}
          </pre>
        </details>
      )}
    </section>
  );
}

import type { ReactNode } from "react";
import { errorLine } from "../../react/format";
import { CopyButton } from "../CopyButton";
import { useWords } from "../words";

/** An error: its message, and the traceback, which unfolds. */
export function ErrorPanel({ error }: { error: string }): ReactNode {
  const words = useWords();
  const headline = errorLine(error);
  const text = error.trim();
  const rest = text.startsWith(headline) ? text.slice(headline.length) : error; // of a traceback all is shown
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

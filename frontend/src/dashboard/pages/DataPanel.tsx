import type { ReactNode } from "react";
import type { Json, JsonObject } from "../../react/index";
import { CopyButton } from "../CopyButton";
import { useWords } from "../words";

/** The run's metadata: its keys and values; objects and lists unfold. */
export function DataPanel({ data }: { data: JsonObject }): ReactNode {
  const words = useWords();
  return (
    <section className="panel" aria-label={words.data}>
      <header className="panel-head">
        <h2 className="panel-title">{words.data}</h2>
        <CopyButton text={JSON.stringify(data, null, 2)} />
      </header>
      <dl className="facts">
        {Object.entries(data).map(([key, value]) => (
          <div className="fact" key={key}>
            <dt>{key}</dt>
            <dd>
              <Value value={value} />
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Value({ value }: { value: Json }): ReactNode {
  if (value === null || typeof value !== "object") return String(value);
  const isList = Array.isArray(value);
  const size = Object.keys(value).length;
  if (size === 0) return isList ? "[ ]" : "{ }";
  return (
    <details className="unfold">
      <summary>
        {isList ? `[ ${size} ]` : `{ ${Object.keys(value).slice(0, 3).join(", ")}${size > 3 ? ", …" : ""} }`}
      </summary>
      <pre className="code">{JSON.stringify(value, null, 2)}</pre>
    </details>
  );
}

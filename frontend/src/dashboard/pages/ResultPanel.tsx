import type { ReactNode } from "react";
import { useMemo } from "react";
import type { Json } from "../../react/index";
import { useRelayClient } from "../../react/index";
import { CopyButton } from "../CopyButton";
import { Icon } from "../icons";
import { useWords } from "../words";
import { bytes, factOf, readResult } from "./result";

/** A run's result: a film, a picture, files to download; everything else as text or JSON. */
export function ResultPanel({
  runId,
  result,
  name,
}: {
  runId: string;
  result: Json;
  name: string;
}): ReactNode {
  const words = useWords();
  const { api } = useRelayClient();
  const made = useMemo(() => readResult(result), [result]);
  const { rest } = made;
  const written = rest === null ? null : typeof rest === "string" ? rest : JSON.stringify(rest, null, 2);
  return (
    <section className="panel" aria-label={words.result}>
      <header className="panel-head">
        <h2 className="panel-title">{words.result}</h2>
        {written !== null && <CopyButton text={written} />}
      </header>
      {made.video !== null && (
        <video
          className="film"
          controls
          playsInline
          preload="metadata"
          aria-label={name}
          poster={made.poster === null ? undefined : api.fileUrl(runId, made.poster)}
          src={api.fileUrl(runId, made.video)}
        />
      )}
      {made.image !== null && <img className="picture" alt={name} src={api.fileUrl(runId, made.image)} />}
      {made.scalars !== null && (
        <dl className="facts facts-result">
          {made.scalars.map(([key, value]) => {
            const [label, text] = factOf(key, value, words.units, words.resultLabels);
            return (
              <div className="fact" key={key}>
                <dt>{label}</dt>
                <dd>{text}</dd>
              </div>
            );
          })}
        </dl>
      )}
      {written !== null && made.scalars === null && (
        <pre className="code" tabIndex={0}>
          {written}
        </pre>
      )}
      {made.files.length > 0 && (
        <ul className="files" aria-label={words.files}>
          {made.files.map((file) => (
            <li key={file.name}>
              <a className="file" href={api.fileUrl(runId, file.name)} download={file.name}>
                <Icon name="file" />
                <span className="file-name">{file.name}</span>
                <span className="muted">{file.sizeBytes === null ? "" : bytes(file.sizeBytes)}</span>
              </a>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

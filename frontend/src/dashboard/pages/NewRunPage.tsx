import { useMutation, useQuery } from "@tanstack/react-query";
import type { FormEvent, ReactNode } from "react";
import { useEffect, useMemo, useRef, useState } from "react";
import type { PipelineInfo } from "../../react/index";
import { RelayError, useRelayClient } from "../../react/index";
import { FormField } from "../form/FormField";
import type { FieldError, Values } from "../form/schema";
import { errorsOf, fieldsOf, initialValues, readValues } from "../form/schema";
import { Link } from "../Link";
import { Notice } from "../Notice";
import { navigate, newPath, runPath } from "../router";
import { useTitle } from "../title";
import { useWords } from "../words";

/** The page that starts a run, with a form made from the pipeline's input schema. */
export function NewRunPage({ pipeline }: { pipeline: string | null }): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const query = useQuery({ queryKey: ["pipelines"], queryFn: ({ signal }) => relay.api.pipelines(signal) });
  useTitle(words.newRun);
  const chosen =
    query.data?.find(({ name }) => name === pipeline) ??
    (query.data?.length === 1 ? query.data[0] : undefined);
  return (
    <div className="page page-narrow">
      <header className="page-head">
        <h1>{chosen?.title ?? words.newRun}</h1>
      </header>
      {query.isPending && (
        <div className="skeleton skeleton-block" role="status" aria-label={words.loading} />
      )}
      {query.isError && (
        <Notice
          tone="bad"
          title={words.listFailed}
          detail={query.error.message}
          action={{ label: words.tryAgain, run: () => void query.refetch() }}
        />
      )}
      {query.data?.length === 0 && <Notice title={words.noPipelines} detail={words.noPipelinesHint} />}
      {query.data !== undefined && query.data.length > 1 && (
        <nav className="choices" aria-label={words.choosePipeline}>
          {query.data.map(({ name, title, description }) => (
            <Link
              key={name}
              href={newPath(name)}
              className="choice"
              aria-current={name === chosen?.name ? "page" : undefined}
            >
              <strong>{title}</strong>
              <span className="muted">{description}</span>
            </Link>
          ))}
        </nav>
      )}
      {chosen !== undefined && (
        <StartForm key={chosen.name} pipeline={chosen} single={query.data?.length === 1} />
      )}
    </div>
  );
}

function StartForm({ pipeline, single }: { pipeline: PipelineInfo; single: boolean }): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const form = useRef<HTMLFormElement>(null);
  const fields = useMemo(() => fieldsOf(pipeline.inputSchema), [pipeline]);
  const [values, setValues] = useState<Values>(() => initialValues(fields));
  const [runId, setRunId] = useState("");
  const [errors, setErrors] = useState<Readonly<Record<string, FieldError>>>({});
  const start = useMutation({
    mutationFn: (input: unknown) =>
      relay.api.start(pipeline.name, input, runId.trim() === "" ? undefined : runId.trim()),
    onSuccess: (id) => navigate(runPath(id)),
    onError: (error) => setErrors(error instanceof RelayError ? errorsOf(error.problem) : {}),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const { input, errors: found } = readValues(fields, values);
    setErrors(found);
    if (Object.keys(found).length === 0) start.mutate(input);
  };
  // Move the focus to the first wrong field.
  useEffect(() => {
    if (Object.keys(errors).length > 0) form.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  }, [errors]);
  const general = start.error !== null && Object.keys(errors).length === 0 ? start.error : null;
  return (
    <form ref={form} className="form" onSubmit={submit} noValidate>
      {single && pipeline.description !== "" && <p className="lead">{pipeline.description}</p>}
      {!single && <h2 className="visually-hidden">{pipeline.title}</h2>}
      {fields.map((field) => (
        <FormField
          key={field.name}
          field={field}
          value={values[field.name] ?? field.initial}
          error={errors[field.name]}
          onChange={(value) => setValues((before) => ({ ...before, [field.name]: value }))}
        />
      ))}
      <details className="form-more">
        <summary>{words.customId}</summary>
        <input
          className="input mono"
          aria-label={words.customId}
          value={runId}
          onChange={(event) => setRunId(event.target.value)}
          placeholder="20251105_1430_우주여행고양이"
        />
        <p className="field-hint">{words.customIdHint}</p>
      </details>
      {general !== null && <Notice tone="bad" title={general.message} />}
      <div className="form-actions">
        <button type="submit" className="button button-primary" disabled={start.isPending}>
          {start.isPending ? words.starting : words.start}
        </button>
      </div>
    </form>
  );
}

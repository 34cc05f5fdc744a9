import { useMutation, useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useRef } from "react";
import type { Abilities, UseRun } from "../../react/index";
import { isEnded, useRelayClient } from "../../react/index";
import { Icon } from "../icons";
import { ROOT } from "../root";
import { navigate } from "../router";
import { useWords } from "../words";

/** The actions of a run: cancel while it is active; retry or delete after its end. */
export function RunActions({ watched }: { watched: UseRun }): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const { run, status, cancel, retry } = watched;
  const remove = () => relay.api.delete(run.runId).then(() => navigate(ROOT));
  // One mutation for all three actions: a new action clears the error of the last one.
  const { mutate, error, isPending } = useMutation({ mutationFn: (act: () => Promise<unknown>) => act() });
  // A button that would do nothing is not offered. Where the relay does not say (a token of this run alone), it is.
  const abilities = useQuery({
    queryKey: ["abilities", run.pipeline],
    queryFn: ({ signal }) => relay.api.abilities(run.pipeline, signal),
    enabled: status !== "unknown",
    retry: false,
  });
  const offers = (action: keyof Abilities) => abilities.data?.[action] ?? abilities.isError;
  // The server does not have this run: no action is possible.
  if (status === "unknown" || run.stale) return null;
  return (
    <div className="actions">
      {error !== null && (
        <span className="action-error" role="alert">
          {error.message}
        </span>
      )}
      {!isEnded(status) ? (
        offers("cancel") && (
          <Confirmed
            icon="stop"
            label={isPending ? words.cancelling : words.cancel}
            question={words.confirmCancel}
            keep={words.keepRunning}
            disabled={isPending}
            onConfirm={() => mutate(cancel)}
          />
        )
      ) : (
        <>
          {offers("retry") &&
            (run.result === null ? (
              <button type="button" className="button" disabled={isPending} onClick={() => mutate(retry)}>
                <Icon name="retry" /> {words.retryRun}
              </button>
            ) : (
              <Confirmed
                icon="retry"
                label={words.retryRun}
                question={words.confirmRetry}
                keep={words.keepResult}
                disabled={isPending}
                onConfirm={() => mutate(retry)}
              />
            ))}
          <Confirmed
            icon="trash"
            label={words.remove}
            question={words.confirmRemove}
            keep={words.keep}
            disabled={isPending}
            onConfirm={() => mutate(remove)}
            bare
          />
        </>
      )}
    </div>
  );
}

interface ConfirmedProps {
  readonly icon: "stop" | "trash" | "retry";
  readonly label: string;
  readonly question: string;
  /** The button that leaves everything as it is. */
  readonly keep: string;
  readonly disabled: boolean;
  readonly bare?: boolean;
  readonly onConfirm: () => void;
}

/** A button that asks for confirmation, for actions that cannot be undone. */
function Confirmed(props: ConfirmedProps): ReactNode {
  const { icon, label, question, keep, disabled, bare = false, onConfirm } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  return (
    <>
      <button
        type="button"
        className={bare ? "icon-button icon-button-bordered" : "button"}
        aria-label={bare ? label : undefined}
        title={bare ? label : undefined}
        disabled={disabled}
        onClick={() => dialog.current?.showModal()}
      >
        <Icon name={icon} /> {!bare && label}
      </button>
      <dialog ref={dialog} className="dialog" aria-label={label}>
        <p>{question}</p>
        <form method="dialog" className="dialog-actions">
          <button type="submit" className="button">
            {keep}
          </button>
          <button type="submit" className="button button-danger" onClick={onConfirm}>
            {label}
          </button>
        </form>
      </dialog>
    </>
  );
}

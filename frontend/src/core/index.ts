/** The client without React. */

export type { Abilities, LogPage, PastAttempt, PipelineInfo, RunFilter, RunPage } from "./api.js";
export { RelayApi } from "./api.js";
export type { BackoffOptions } from "./backoff.js";
export { BACKOFF, retryDelayMs } from "./backoff.js";
export type { MessageType } from "./codes.js";
export { CloseCode, isTerminalCode, MESSAGE_TYPES } from "./codes.js";
/** `LinkOptions` is the former name, kept for code that imports it. */
export type { ConnectionOptions, ConnectionOptions as LinkOptions } from "./connectionOptions.js";
export type { Environment, PageSignal, RequestOptions } from "./environment.js";
export { pageEnvironment } from "./environment.js";
export { remainingMs } from "./eta.js";
export type { Frame, ProgressEvent, Snapshot } from "./frames.js";
export { mergePatch } from "./mergePatch.js";
export { RelayError } from "./problem.js";
export { qualityOf } from "./quality.js";
export { applyEvents, applySnapshot, unknownRun } from "./reducer.js";
export type { RelayClientOptions, Token } from "./relayClient.js";
export { RelayClient } from "./relayClient.js";
export type { Outcome, RunClientState } from "./runClient.js";
export { RunClient } from "./runClient.js";
export type { RunListState } from "./runList.js";
export { RunList } from "./runList.js";
export * from "./types.js";

"use client";
/** The public API of `@runrelay/react`. (No `export *`: server-rendering frameworks refuse it in client modules.) */

// `RunStatus` is the component, `RunStatusName` the type of a run's status
export type {
  Abilities,
  BackoffOptions,
  ConnectionError,
  ConnectionOptions,
  ConnectionState,
  ConnectionStatistics,
  ConnectionStatus,
  Environment,
  Json,
  JsonObject,
  LogLevel,
  LogLine,
  LogPage,
  MessageType,
  Outcome,
  PastAttempt,
  PipelineInfo,
  ProgressEvent,
  ProgressSample,
  Quality,
  RelayClientOptions,
  RequestOptions,
  RunClientState,
  RunFilter,
  RunListState,
  RunPage,
  RunState,
  RunStatus as RunStatusName,
  RunSummary,
  StatusFilter,
  Step,
  Token,
  TransportKind,
} from "../core/index.js";
export {
  CloseCode,
  isEnded,
  MESSAGE_TYPES,
  RelayClient,
  RelayError,
  RunClient,
  STATUS_SETS,
} from "../core/index.js";
export type { ConnectionBadgeProps } from "./ConnectionBadge.js";
export { ConnectionBadge } from "./ConnectionBadge.js";
export type { EndAnnouncementProps } from "./EndAnnouncement.js";
export { EndAnnouncement } from "./EndAnnouncement.js";
export type { Units } from "./format.js";
export { clock, duration, percent, roughDuration, ticking } from "./format.js";
export type { LogBoxProps } from "./LogBox.js";
export { LogBox, useFollowEnd } from "./LogBox.js";
export type { LogTailProps } from "./LogTail.js";
export { LogTail } from "./LogTail.js";
export type { Span } from "./lanes.js";
export { spanOf } from "./lanes.js";
export type { ProgressBarProps } from "./ProgressBar.js";
export { isIndeterminate, ProgressBar } from "./ProgressBar.js";
export type { RelayProviderProps } from "./provider.js";
export { RelayProvider, useRelayClient } from "./provider.js";
export type { RetryPanelProps } from "./RetryPanel.js";
export { RetryPanel } from "./RetryPanel.js";
export type { RunProgressProps } from "./RunProgress.js";
export { RunProgress } from "./RunProgress.js";
export type { RunStatusProps } from "./RunStatus.js";
export { RunStatus } from "./RunStatus.js";
export type { StatusIconProps } from "./StatusIcon.js";
export { StatusIcon } from "./StatusIcon.js";
export type { StepTimelineProps } from "./StepTimeline.js";
export { StepTimeline } from "./StepTimeline.js";
export { useConnection } from "./useConnection.js";
export type { RunConnection, UseRun, UseRunOptions } from "./useRun.js";
export { useRun } from "./useRun.js";
export type { UseRuns } from "./useRuns.js";
export { useRuns } from "./useRuns.js";
export type { Words } from "./words.js";
export { ENGLISH, KOREAN } from "./words.js";

/** The texts of the components, in English and Korean. The prop `words` replaces any of them. */

import type { ConnectionStatus, Quality, RunStatus, TransportKind } from "../core/index.js";
import { CloseCode } from "../core/index.js";
import type { Units } from "./format.js";

export interface Words {
  readonly status: Readonly<Record<RunStatus, string>>;
  readonly connection: Readonly<Record<ConnectionStatus, string>>;
  readonly quality: Readonly<Record<Quality, string>>;
  readonly transport: Readonly<Record<TransportKind, string>>;
  /** The units after the numbers of a duration. */
  readonly units: Units;
  readonly progress: string;
  readonly log: string;
  readonly steps: string;
  readonly noLog: string;
  readonly stale: string;
  /** In place of a status while nothing was heard of the run yet. */
  readonly notHeard: string;
  readonly remaining: (time: string) => string;
  readonly retryNow: string;
  readonly retryIn: (time: string) => string;
  readonly tries: (count: number) => string;
  /** Why the connection was lost or refused. The code is null when it broke without one. */
  readonly reason: (error: { readonly code: number | null; readonly message: string }) => string;
  readonly adviceWaiting: string;
  readonly adviceFailed: string;
  readonly adviceOffline: string;
  readonly adviceClosed: string;
  readonly newLines: (count: number) => string;
  readonly earlierLines: (count: number) => string;
}

export const ENGLISH: Words = {
  status: {
    queued: "Queued",
    running: "Running",
    retrying: "Retrying",
    stalled: "Stalled",
    succeeded: "Succeeded",
    failed: "Failed",
    cancelled: "Cancelled",
    unknown: "No such run",
  },
  connection: {
    idle: "Not connected",
    connecting: "Connecting",
    connected: "Live",
    reconnecting: "Reconnecting",
    offline: "Offline",
    paused: "Paused",
    failed: "Connection failed",
    closed: "Closed",
  },
  quality: { excellent: "excellent", good: "good", poor: "poor", critical: "critical" },
  transport: { websocket: "WebSocket", sse: "Event stream", polling: "Polling" },
  units: { ms: " ms", s: " s", m: " m", h: " h" },
  progress: "Progress",
  log: "Log",
  steps: "Steps",
  noLog: "No log lines yet",
  stale: "What you see may be old",
  notHeard: "Loading",
  remaining: (time) => `about ${time} left`,
  retryNow: "Retry now",
  retryIn: (time) => `Trying again in ${time}`,
  tries: (count) => `Try ${count}`,
  reason: (error) => error.message,
  adviceWaiting: "The run goes on by itself; nothing is lost while you are away.",
  adviceFailed: "Check your network, or whether the server is up, then try again.",
  adviceOffline: "Your device is offline. It reconnects by itself when the network is back.",
  adviceClosed: "The server refused this. Trying again will not help without another address or sign-in.",
  newLines: (count) => `${count} new ${count === 1 ? "line" : "lines"}`,
  earlierLines: (count) => `${count} earlier ${count === 1 ? "line" : "lines"} not shown`,
};

const KOREAN_LOST = "서버와의 연결이 끊어졌습니다";
const restarting = () => "서버가 다시 시작되고 있습니다";
const malformed = (message: string) => `잘못된 요청입니다: ${message}`;
const KOREAN_REASONS: Readonly<Record<number, (message: string) => string>> = {
  [CloseCode.GOING_AWAY]: restarting,
  [CloseCode.SERVICE_RESTART]: restarting,
  [CloseCode.FRAME_TOO_BIG]: malformed,
  [CloseCode.INTERNAL_ERROR]: () => "서버에 오류가 있습니다. 잠시 후 다시 시도합니다",
  [CloseCode.BAD_REQUEST]: malformed,
  [CloseCode.UNAUTHORIZED]: () => "로그인이 필요합니다",
  [CloseCode.FORBIDDEN]: () => "이 작업을 볼 권한이 없습니다",
  [CloseCode.TOO_SLOW]: () => "수신이 느려 연결이 끊어졌습니다. 이어서 받습니다",
  [CloseCode.NOT_A_RUN]: () => "이 이름으로 저장된 것은 작업이 아니거나 손상되었습니다",
  [CloseCode.TOO_MANY]: () => "연결이 너무 많습니다",
};

export const KOREAN: Words = {
  status: {
    queued: "대기 중",
    running: "실행 중",
    retrying: "재시도 중",
    stalled: "멈춤",
    succeeded: "완료",
    failed: "실패",
    cancelled: "취소됨",
    unknown: "없는 작업",
  },
  connection: {
    idle: "연결 안 됨",
    connecting: "연결 중",
    connected: "실시간",
    reconnecting: "다시 연결 중",
    offline: "오프라인",
    paused: "일시 중지",
    failed: "연결 실패",
    closed: "종료됨",
  },
  quality: { excellent: "매우 좋음", good: "좋음", poor: "나쁨", critical: "매우 나쁨" },
  transport: { websocket: "WebSocket", sse: "이벤트 스트림", polling: "폴링" },
  units: { ms: "ms", s: "초", m: "분", h: "시간" },
  progress: "진행률",
  log: "로그",
  steps: "단계",
  noLog: "아직 로그가 없습니다",
  stale: "최신 정보가 아닐 수 있습니다",
  notHeard: "불러오는 중",
  remaining: (time) => `약 ${time} 남음`,
  retryNow: "지금 다시 시도",
  retryIn: (time) => `${time} 후 다시 시도`,
  tries: (count) => `${count}번째 시도`,
  reason: ({ code, message }) => (code === null ? KOREAN_LOST : (KOREAN_REASONS[code]?.(message) ?? message)),
  adviceWaiting: "작업은 계속 진행됩니다. 연결이 끊긴 동안의 내용도 사라지지 않습니다.",
  adviceFailed: "네트워크와 서버 상태를 확인한 뒤 다시 시도하세요.",
  adviceOffline: "기기가 오프라인입니다. 네트워크가 돌아오면 자동으로 연결됩니다.",
  adviceClosed: "서버가 요청을 거부했습니다. 다시 시도해도 같은 결과가 나옵니다.",
  newLines: (count) => `새 로그 ${count}줄`,
  earlierLines: (count) => `이전 로그 ${count}줄 생략`,
};

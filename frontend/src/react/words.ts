/** What the components say, in English and Korean; replace any of it through `words`. */

import type { ConnectionStatus, Quality, RunStatus, TransportKind } from "../core/index.js";

export interface Words {
  readonly status: Readonly<Record<RunStatus, string>>;
  readonly connection: Readonly<Record<ConnectionStatus, string>>;
  readonly quality: Readonly<Record<Quality, string>>;
  readonly transport: Readonly<Record<TransportKind, string>>;
  readonly progress: string;
  readonly log: string;
  readonly steps: string;
  readonly noLog: string;
  readonly stale: string;
  readonly remaining: (time: string) => string;
  readonly retryNow: string;
  readonly retryIn: (time: string) => string;
  readonly tries: (count: number) => string;
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
    unknown: "Not started",
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
  progress: "Progress",
  log: "Log",
  steps: "Steps",
  noLog: "No log lines yet",
  stale: "What you see may be old",
  remaining: (time) => `about ${time} left`,
  retryNow: "Retry now",
  retryIn: (time) => `Trying again in ${time}`,
  tries: (count) => `Try ${count}`,
  adviceWaiting: "The run goes on by itself; nothing is lost while you are away.",
  adviceFailed: "Check your network, or whether the server is up, then try again.",
  adviceOffline: "Your device is offline. It reconnects by itself when the network is back.",
  adviceClosed: "The server refused this. Trying again will not help without another address or sign-in.",
  newLines: (count) => `${count} new ${count === 1 ? "line" : "lines"}`,
  earlierLines: (count) => `${count} earlier ${count === 1 ? "line" : "lines"} not shown`,
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
    unknown: "시작 전",
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
  progress: "진행률",
  log: "로그",
  steps: "단계",
  noLog: "아직 로그가 없습니다",
  stale: "최신 정보가 아닐 수 있습니다",
  remaining: (time) => `약 ${time} 남음`,
  retryNow: "지금 다시 시도",
  retryIn: (time) => `${time} 후 다시 시도`,
  tries: (count) => `${count}번째 시도`,
  adviceWaiting: "작업은 계속 진행됩니다. 연결이 끊긴 동안의 내용도 사라지지 않습니다.",
  adviceFailed: "네트워크와 서버 상태를 확인한 뒤 다시 시도하세요.",
  adviceOffline: "기기가 오프라인입니다. 네트워크가 돌아오면 자동으로 연결됩니다.",
  adviceClosed: "서버가 요청을 거부했습니다. 다시 시도해도 같은 결과가 나옵니다.",
  newLines: (count) => `새 로그 ${count}줄`,
  earlierLines: (count) => `이전 로그 ${count}줄 생략`,
};

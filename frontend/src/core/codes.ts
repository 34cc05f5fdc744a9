/** Close codes and message types, the same as in backend/runrelay/codes.py (a test compares the two). */

export const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  FRAME_TOO_BIG: 1009,
  INTERNAL_ERROR: 1011,
  SERVICE_RESTART: 1012,
  BAD_REQUEST: 4400,
  UNAUTHORIZED: 4401,
  FORBIDDEN: 4403,
  TOO_SLOW: 4408,
  NOT_A_RUN: 4409,
  TOO_MANY: 4429,
} as const;

export const MESSAGE_TYPES = [
  "initial_state",
  "progress",
  "resumed",
  "upstream",
  "end",
  "stale",
  "error",
  "pong",
  "subscribed",
  "run",
  "run_deleted",
  "ping",
  "subscribe",
  "unsubscribe",
] as const;

export type MessageType = (typeof MESSAGE_TYPES)[number];

/** Codes after which a retry would get the same answer. */
const TERMINAL: readonly number[] = [
  CloseCode.FRAME_TOO_BIG,
  CloseCode.BAD_REQUEST,
  CloseCode.FORBIDDEN,
  CloseCode.NOT_A_RUN,
];

/** Whether a close code (or an error frame's code) ends reconnecting. */
export function isTerminalCode(code: number): boolean {
  return TERMINAL.includes(code);
}

/** The `retry_in_ms` of a close reason, or null when the reason is not the relay's JSON. */
export function retryInMsOf(reason: string): number | null {
  if (!reason.startsWith("{")) return null;
  try {
    const value: unknown = (JSON.parse(reason) as Record<string, unknown>).retry_in_ms;
    return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null;
  } catch {
    return null; // not the relay's reason, perhaps a proxy's
  }
}

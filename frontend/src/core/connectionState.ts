/** The connection's axis of the client's state, folded from connection events. Pure. */

import { qualityOf } from "./quality.js";
import type { ConnectionError, ConnectionState, ConnectionStatus, TransportKind } from "./types.js";

export const IDLE: ConnectionState = {
  status: "idle",
  transport: null,
  quality: "critical",
  attempt: 0,
  retryInMs: null,
  retryAt: null,
  upstream: "up",
  error: null,
  statistics: {
    reconnects: 0,
    lastReconnectAt: null,
    connectedSince: null,
    missedHeartbeats: 0,
    averageLatencyMs: null,
    latencyMs: null,
    lastHeartbeatAt: null,
  },
};

/** Weight of the latest round trip in the average: one slow ping has no effect after a few more. */
const LATENCY_WEIGHT = 0.2;

export type ConnectionEvent =
  | { readonly type: "opening"; readonly attempt: number }
  | {
      readonly type: "proven";
      readonly transport: TransportKind;
      readonly now: number;
      readonly again: boolean;
    }
  | { readonly type: "waiting"; readonly attempt: number; readonly inMs: number; readonly now: number }
  | { readonly type: "lost"; readonly error: ConnectionError }
  | { readonly type: "stopped"; readonly status: "idle" | "offline" | "paused" | "failed" | "closed" }
  | { readonly type: "upstream"; readonly status: "up" | "down" }
  | { readonly type: "latency"; readonly ms: number }
  | { readonly type: "missed" }
  /**
   * The regular check. The quality depends on the time since the last frame and on `due`, the number of unanswered
   * pings.
   */
  | { readonly type: "checked"; readonly now: number; readonly receivedAt: number; readonly due: number };

export function foldConnection(state: ConnectionState, event: ConnectionEvent): ConnectionState {
  switch (event.type) {
    case "opening": {
      const status: ConnectionStatus = event.attempt === 0 ? "connecting" : "reconnecting";
      return { ...down(state, status), attempt: event.attempt };
    }
    case "proven":
      return {
        ...state,
        status: "connected",
        transport: event.transport,
        // No round trip was measured yet; the connection has just been proven, so it counts as good.
        quality: "excellent",
        attempt: 0,
        retryInMs: null,
        retryAt: null,
        error: null,
        statistics: {
          ...state.statistics,
          reconnects: state.statistics.reconnects + (event.again ? 1 : 0),
          lastReconnectAt: event.again ? event.now : state.statistics.lastReconnectAt,
          connectedSince: event.now,
          latencyMs: null,
          lastHeartbeatAt: event.now,
        },
      };
    case "waiting":
      return {
        ...down(state, "reconnecting"),
        attempt: event.attempt,
        retryInMs: event.inMs,
        retryAt: event.now + event.inMs,
      };
    case "lost":
      return { ...state, error: event.error };
    case "stopped":
      return { ...down(state, event.status), attempt: event.status === "failed" ? state.attempt : 0 };
    case "upstream":
      return state.upstream === event.status ? state : { ...state, upstream: event.status };
    case "latency": {
      const average = state.statistics.averageLatencyMs;
      const averageLatencyMs = average === null ? event.ms : average + LATENCY_WEIGHT * (event.ms - average);
      return { ...state, statistics: { ...state.statistics, latencyMs: event.ms, averageLatencyMs } };
    }
    case "missed": {
      const { statistics } = state;
      return { ...state, statistics: { ...statistics, missedHeartbeats: statistics.missedHeartbeats + 1 } };
    }
    case "checked": {
      const quality = qualityOf({
        connected: state.status === "connected",
        latencyMs: state.statistics.latencyMs,
        silenceMs: event.now - event.receivedAt,
        missed: event.due,
      });
      if (quality === state.quality && state.statistics.lastHeartbeatAt === event.receivedAt) return state;
      return { ...state, quality, statistics: { ...state.statistics, lastHeartbeatAt: event.receivedAt } };
    }
  }
}

function down(state: ConnectionState, status: ConnectionStatus): ConnectionState {
  return {
    ...state,
    status,
    transport: null,
    quality: "critical",
    retryInMs: null,
    retryAt: null,
    statistics: { ...state.statistics, connectedSince: null, latencyMs: null },
  };
}

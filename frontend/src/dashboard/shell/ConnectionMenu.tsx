import type { ReactNode } from "react";
import { connectionWords } from "../../react/ConnectionBadge";
import { ConnectionBadge, ticking, useConnection, useRelayClient } from "../../react/index";
import { useNow } from "../../react/useNow";
import { useWords } from "../words";
import { Menu } from "./Menu";

/** The connection's badge; a click opens its statistics. */
export function ConnectionMenu(): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const connection = useConnection();
  return (
    <Menu
      label={connectionWords(connection, words).join(", ")}
      button={<ConnectionBadge connection={connection} words={words} />}
    >
      <ConnectionFacts />
      {connection.status !== "connected" && (
        <button type="button" className="button" onClick={() => relay.reconnect()}>
          {words.retryNow}
        </button>
      )}
    </Menu>
  );
}

function ConnectionFacts(): ReactNode {
  const words = useWords();
  const { status, transport, quality, statistics, error } = useConnection();
  const now = useNow(true);
  const ms = (value: number | null) => (value === null ? "–" : `${Math.round(value)} ms`);
  const since = statistics.connectedSince;
  const facts: readonly (readonly [string, string])[] = [
    [words.transportLabel, transport === null ? "–" : words.transport[transport]],
    [words.qualityLabel, status === "connected" ? words.quality[quality] : "–"],
    [words.latency, ms(statistics.latencyMs)],
    [words.averageLatency, ms(statistics.averageLatencyMs)],
    [words.connectedFor, since === null || now === 0 ? "–" : ticking(Math.max(0, now - since), words.units)],
    [words.reconnects, String(statistics.reconnects)],
    [words.missedHeartbeats, String(statistics.missedHeartbeats)],
  ];
  return (
    <>
      {error !== null && <p className="menu-error">{words.reason(error)}</p>}
      <dl className="facts">
        {facts.map(([label, value]) => (
          <div className="fact" key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

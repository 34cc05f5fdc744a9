/**
 * The upgrade to a better transport. A probe is opened beside the transport in use, and replaces it when it is proven.
 * Until then the old transport stays open.
 */

import { upgradeDelayMs } from "./fallback.js";
import type { Transport, TransportClose } from "./transport.js";
import type { TransportKind } from "./types.js";

type Token = string | null;

export interface UpgradeHost {
  /** The transports that are better than the one in use and can be used now, best first. */
  candidates(): readonly TransportKind[];
  token(): Promise<Token> | Token;
  /** Opens a probe. Throws when this environment has no such transport. */
  openProbe(kind: TransportKind, token: Token, events: ProbeEvents): Transport;
  /** A probe is proven. From now on it is the transport in use. */
  onUpgraded(kind: TransportKind, transport: Transport): void;
}

export interface ProbeEvents {
  onProven(): void;
  /** Returns true when the transport was still a probe: the connection then has nothing to do. */
  onClose(close: TransportClose): boolean;
}

export class Upgrade {
  readonly #host: UpgradeHost;
  #probe: Transport | null = null;
  #tries = 0;
  /** The number of the current plan: a token that was requested for an older one is dropped. */
  #plan = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(host: UpgradeHost) {
    this.#host = host;
  }

  isProbe(transport: Transport | null): boolean {
    return transport !== null && this.#probe === transport;
  }

  unsubscribe(runId: string): void {
    this.#probe?.unsubscribe(runId);
  }

  /** Probe soon again, because the network has changed. */
  reset(): void {
    this.#tries = 0;
  }

  /** Probe after a wait, unless the transport in use is the best one. */
  plan(): void {
    clearTimeout(this.#timer);
    if (this.#host.candidates().length === 0) {
      this.#tries = 0;
      return;
    }
    this.#timer = setTimeout(() => this.#try(this.#host.candidates()), upgradeDelayMs(this.#tries));
  }

  stop(): void {
    this.#plan += 1;
    clearTimeout(this.#timer);
    const probe = this.#probe;
    // First clear `#probe`, then close: events that the close causes are then dropped.
    this.#probe = null;
    probe?.close();
  }

  #try(candidates: readonly TransportKind[]): void {
    const [kind, ...rest] = candidates;
    if (kind === undefined || this.#probe !== null) {
      this.#tries += 1;
      return this.plan();
    }
    const plan = this.#plan;
    Promise.resolve(this.#host.token()).then(
      (token) => plan === this.#plan && this.#open(kind, token, rest),
      () => plan === this.#plan && this.plan(),
    );
  }

  #open(kind: TransportKind, token: Token, rest: readonly TransportKind[]): void {
    // A box, because a transport may send events while its constructor runs.
    const box: { probe: Transport | null } = { probe: null };
    const giveUp = () => {
      this.#probe = null;
      this.#try(rest);
    };
    try {
      box.probe = this.#host.openProbe(kind, token, {
        onProven: () => {
          if (!this.isProbe(box.probe) || box.probe === null) return;
          this.#probe = null;
          this.#tries = 0;
          this.#host.onUpgraded(kind, box.probe);
        },
        onClose: () => {
          if (!this.isProbe(box.probe)) return false;
          giveUp();
          return true;
        },
      });
    } catch {
      return giveUp();
    }
    this.#probe = box.probe;
  }
}

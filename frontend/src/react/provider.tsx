/** The relay of a tree of components. Without a provider it is the relay that served the page. */

import type { ReactNode } from "react";
import { createContext, createElement, useContext } from "react";
import { RelayClient } from "../core/index.js";

const RelayContext = createContext<RelayClient | null>(null);

export interface RelayProviderProps {
  readonly client: RelayClient;
  readonly children?: ReactNode;
}

export function RelayProvider({ client, children }: RelayProviderProps): ReactNode {
  return createElement(RelayContext.Provider, { value: client }, children);
}

/** One client for each relay of a page: all hooks share its connection. */
const clients = new Map<string, RelayClient>();

function clientFor(baseUrl: string): RelayClient {
  const known = clients.get(baseUrl);
  if (known !== undefined) return known;
  const client = new RelayClient({ baseUrl });
  // Not on a server: nothing of one request may be kept for the next.
  if (typeof window !== "undefined") clients.set(baseUrl, client);
  return client;
}

/**
 * The client of these options: `client`, else one for `baseUrl`, else the provider's, else one for the page's origin.
 */
export function useRelayClient(options: { client?: RelayClient; baseUrl?: string } = {}): RelayClient {
  const provided = useContext(RelayContext);
  if (options.client !== undefined) return options.client;
  if (options.baseUrl !== undefined) return clientFor(options.baseUrl);
  return provided ?? clientFor("");
}

/**
 * Addresses as a cluster tells them: with a host that may be missing, and mapped by the user where what is announced cannot
 * be dialled.
 *
 * @internal
 */
import type { Address } from "../ClusterTopology.ts"

/** An address as a text that is the same for equal addresses. */
export const addressText = ({ host, port }: Address): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535

/** A port in a reply or a redirect: a number or its text. */
export const readPort = (value: unknown): number | undefined => {
  const port = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value
  return typeof port === "number" && isPort(port) ? port : undefined
}

/**
 * The endpoint of a redirect, such as `10.0.0.1:6379`, `:6379`, `?:6379` or `::1:6379`: the last colon splits. Without a host
 * it is the host of the node that said it. Redis before 7 adds the bus port, as in `host:port@bus`.
 */
export const readEndpoint = (text: string, saidBy: string): Address | undefined => {
  const colon = text.lastIndexOf(":")
  if (colon < 0) return undefined
  const port = readPort(text.slice(colon + 1).replace(/@\d+$/, ""))
  if (port === undefined) return undefined
  const host = text.slice(0, colon).replace(/^\[(.*)\]$/, "$1")
  return { host: host === "" || host === "?" ? saidBy : host, port }
}

/**
 * Reads the replies of Sentinels: their descriptions of servers, and their events. Pure.
 *
 * A description is a flat list of names and values in RESP2 and a map in RESP3. Follows "High availability with Redis Sentinel"
 * (the Sentinel API, Pub/Sub messages) and what Sentinels of 7.0 send.
 *
 * @internal
 */
import type { Address } from "../../RedisOptions.ts"
import type * as Resp from "../../Resp.ts"

/** A server as one Sentinel describes it. */
export interface Described {
  readonly address: Address
  /** Its own id (`runid`). */
  readonly id: string | undefined
  /** `master`, `slave`, `s_down`, `o_down`, `disconnected` … */
  readonly flags: ReadonlySet<string>
  /** Whether its link to its primary is up. Primaries have none. */
  readonly isLinked: boolean
}

const textOf = (value: unknown): string | undefined =>
  typeof value === "string" ? value : typeof value === "number" ? String(value) : undefined

const fieldsOf = (reply: unknown): ReadonlyMap<string, string> | undefined => {
  const pairs = reply instanceof Map ? [...reply].flat() : reply
  if (!Array.isArray(pairs)) return undefined
  const fields = new Map<string, string>()
  for (let index = 0; index + 1 < pairs.length; index += 2) {
    const [name, value] = [textOf(pairs[index]), textOf(pairs[index + 1])]
    if (name !== undefined && value !== undefined) fields.set(name, value)
  }
  return fields
}

const addressOf = (host: string | undefined, port: string | undefined): Address | undefined =>
  host !== undefined &&
  host !== "" &&
  port !== undefined &&
  /^\d{1,5}$/.test(port) &&
  Number(port) >= 1 &&
  Number(port) <= 65535
    ? { host, port: Number(port) }
    : undefined

/**
 * The reply of `SENTINEL GET-MASTER-ADDR-BY-NAME`: where clients are to go. From the promotion on, the leader of a failover names the
 * new primary there. `SENTINEL MASTER` has the old one's address until the replicas follow, beside the new epoch already.
 */
export const readNamed = (reply: unknown): Address | undefined =>
  Array.isArray(reply) ? addressOf(textOf(reply[0]), textOf(reply[1])) : undefined

/** The configuration epoch in the reply of `SENTINEL MASTER`; 0 of what has none. */
export const readEpoch = (reply: unknown): number => {
  const epoch = Number(fieldsOf(reply)?.get("config-epoch"))
  return Number.isSafeInteger(epoch) && epoch > 0 ? epoch : 0
}

/** One element of the reply of `SENTINEL REPLICAS` or `SENTINEL SENTINELS`. */
const readServer = (reply: unknown): Described | undefined => {
  const fields = fieldsOf(reply)
  const address = fields && addressOf(fields.get("ip"), fields.get("port"))
  if (fields === undefined || address === undefined) return undefined
  const link = fields.get("master-link-status")
  return {
    address,
    id: fields.get("runid") || undefined,
    flags: new Set((fields.get("flags") ?? "").split(",")),
    isLinked: link === undefined || link === "ok"
  }
}

/** The reply of `SENTINEL REPLICAS` or `SENTINEL SENTINELS`: what cannot be read is left out. */
export const readServers = (reply: unknown): ReadonlyArray<Described> =>
  Array.isArray(reply) ? reply.flatMap((one: unknown) => readServer(one) ?? []) : []

const downFlags = ["s_down", "o_down", "disconnected", "master_down"]

/** Whether a replica can be read from: it is up, and its data follow the primary's. */
export const isUsable = ({ flags, isLinked }: Described): boolean =>
  isLinked && !downFlags.some((flag) => flags.has(flag))

/** An event of a Sentinel that is about a group. */
export type Event =
  /** The group has another primary. */
  | { readonly _tag: "Switch"; readonly group: string; readonly from: Address; readonly to: Address }
  /** Something of this kind happened to a server or a Sentinel of the group. */
  | { readonly _tag: "Change"; readonly group: string; readonly kind: string; readonly address: Address }

/** Reads a message of a Sentinel: the channel is the kind of event. `undefined` for what says nothing about a group. */
export const readEvent = (kind: string, payload: string): Event | undefined => {
  const words = payload.split(" ")
  if (kind === "+switch-master") {
    const [group, oldHost, oldPort, newHost, newPort] = words
    const from = addressOf(oldHost, oldPort)
    const to = addressOf(newHost, newPort)
    return group === undefined || from === undefined || to === undefined
      ? undefined
      : { _tag: "Switch", group, from, to }
  }
  // <type> <name> <ip> <port> @ <group> <primary's ip> <primary's port>; a primary has no part after the @.
  const [type, name, host, port, at, group] = words
  const address = addressOf(host, port)
  const owner = type === "master" ? name : at === "@" ? group : undefined
  return owner === undefined || address === undefined ? undefined : { _tag: "Change", group: owner, kind, address }
}

/** The role that a server says it has: the first element of the reply of `ROLE`. */
export const readRole = (reply: Resp.Reply): "primary" | "replica" | "sentinel" | undefined => {
  const role = Array.isArray(reply) ? textOf(reply[0]) : undefined
  if (role === "master") return "primary"
  if (role === "slave") return "replica"
  return role === "sentinel" ? "sentinel" : undefined
}

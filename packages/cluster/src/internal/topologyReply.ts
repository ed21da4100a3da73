/**
 * `CLUSTER SLOTS` and `CLUSTER SHARDS` to a topology, in RESP2 and RESP3.
 *
 * A reply that is no topology gives a text that says why. Slots out of range, ranges that overlap and nodes without a port
 * make the whole reply worthless: half a map is worse than the old one. A host may be missing: then it is the host that was
 * asked. Where it is `?` (a name is wanted and none announced) it is the `ip` of the metadata.
 *
 * @internal
 */
import * as Resp from "@relive/core/Resp"
import type { Address, Node, Shard, Topology } from "../ClusterTopology.ts"
import { addressText, readPort } from "./addresses.ts"
import { SLOTS } from "./slots.ts"

/** The node that was asked, and the user's wishes. */
export interface Asked {
  /** The host that returned the reply. */
  readonly host: string
  /** Whether its connection is encrypted: the port for that is told apart in `SHARDS`. */
  readonly tls: boolean
  readonly mapAddress?:
    | ((announced: Address, node: { readonly id: string; readonly hostname: string | undefined }) => Address)
    | undefined
}

type Entries = ReadonlyMap<string, Resp.Reply>

/** Why a reply is no topology. Thrown inside, returned outside. */
class Malformed {
  readonly problem: string
  constructor(problem: string) {
    this.problem = problem
  }
}

const malformed = (problem: string): never => {
  throw new Malformed(problem)
}

const isArray = (value: Resp.Reply | undefined): value is ReadonlyArray<Resp.Reply> => Array.isArray(value)

const arrayOf = (value: Resp.Reply | undefined, what: string): ReadonlyArray<Resp.Reply> =>
  isArray(value) ? value : malformed(`${what} is no array`)

/** Names and values: a map in RESP3, in RESP2 a flat array or pairs. */
const entriesOf = (value: Resp.Reply | undefined): Entries => {
  const entries = new Map<string, Resp.Reply>()
  if (value instanceof Map) {
    for (const [name, item] of value) entries.set(String(name), item)
  } else if (isArray(value)) {
    const pairs = value.every((item) => isArray(item) && item.length === 2)
    const flat = pairs ? value.flatMap((item) => (isArray(item) ? item : [])) : value
    for (let i = 0; i + 1 < flat.length; i += 2) entries.set(String(flat[i]), flat[i + 1] ?? null)
  }
  return entries
}

const textOf = (value: Resp.Reply | undefined): string => (typeof value === "string" ? value : "")

const slotNumber = (value: Resp.Reply | undefined): number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value < SLOTS
    ? value
    : malformed("a slot is no number from 0 to 16383")

type Range = readonly [from: number, to: number]

const rangeOf = (from: Resp.Reply | undefined, to: Resp.Reply | undefined): Range => {
  const range: Range = [slotNumber(from), slotNumber(to)]
  return range[0] <= range[1] ? range : malformed("a range of slots ends before it begins")
}

interface Announced {
  readonly id: string
  readonly host: string
  readonly ip: string
  readonly hostname: string
  readonly port: Resp.Reply | undefined
  readonly role: Node["role"]
  readonly health: Node["health"]
  readonly offset: number | undefined
}

const nodeOf = (asked: Asked, announced: Announced): Node => {
  const port = readPort(announced.port) ?? malformed("a node has no port")
  const host = announced.host === "?" ? announced.ip : announced.host
  const address = { host: host === "" || host === "?" ? asked.host : host, port }
  const id = announced.id === "" ? addressText(address) : announced.id
  const named = announced.hostname !== "" ? announced.hostname : isName(announced.host) ? announced.host : undefined
  return {
    id,
    address: asked.mapAddress?.(address, { id, hostname: named }) ?? address,
    announced: address,
    hostname: named,
    role: announced.role,
    health: announced.health,
    offset: announced.offset
  }
}

/** Whether a host is a name, not an address. */
export const isName = (host: string): boolean => host !== "" && !host.includes(":") && /[a-z]/i.test(host)

/** A replica that cannot be dialled is left out: it is no reason to know nothing of all others. */
const ifSound = (make: () => Node): ReadonlyArray<Node> => {
  try {
    return [make()]
  } catch (thrown) {
    if (thrown instanceof Malformed) return []
    throw thrown
  }
}

// ------------------------------------------------------------------------------------------------------------- SLOTS

const slotsNode = (asked: Asked, value: Resp.Reply | undefined, role: Node["role"]): Node => {
  const [host = null, port = null, id = null, metadata = null] = arrayOf(value, "a node")
  const more = entriesOf(metadata)
  return nodeOf(asked, {
    id: textOf(id),
    host: textOf(host),
    ip: textOf(more.get("ip")),
    hostname: textOf(more.get("hostname")),
    port,
    role,
    health: "online",
    offset: undefined
  })
}

const readSlots = (asked: Asked, reply: ReadonlyArray<Resp.Reply>): ReadonlyArray<Shard> => {
  const shards = new Map<string, { primary: Node; replicas: Map<string, Node>; ranges: Array<Range> }>()
  for (const row of reply) {
    const [from, to, primary, ...replicas] = arrayOf(row, "a range of slots")
    const node = slotsNode(asked, primary, "primary")
    const shard = shards.get(node.id) ?? { primary: node, replicas: new Map<string, Node>(), ranges: [] }
    shards.set(node.id, shard)
    shard.ranges.push(rangeOf(from, to))
    for (const replica of replicas) {
      for (const other of ifSound(() => slotsNode(asked, replica, "replica"))) shard.replicas.set(other.id, other)
    }
  }
  return [...shards.values()].map((shard) => ({ ...shard, replicas: [...shard.replicas.values()] }))
}

// ------------------------------------------------------------------------------------------------------------ SHARDS

const healthOf = (text: string): Node["health"] =>
  text.startsWith("fail") ? "fail" : text === "loading" ? "loading" : "online"

const isPrimary = (node: Resp.Reply): boolean => /^(master|primary)$/.test(textOf(entriesOf(node).get("role")))

const shardsNode = (asked: Asked, value: Resp.Reply): Node => {
  const told = entriesOf(value)
  const plain = told.get("port")
  const secure = told.get("tls-port")
  const endpoint = told.get("endpoint")
  const offset = told.get("replication-offset")
  return nodeOf(asked, {
    id: textOf(told.get("id")),
    host: textOf(endpoint),
    ip: textOf(told.get("ip")),
    hostname: textOf(told.get("hostname")),
    port: asked.tls ? (secure ?? plain) : (plain ?? secure),
    role: isPrimary(value) ? "primary" : "replica",
    health: healthOf(textOf(told.get("health"))),
    offset: typeof offset === "number" ? offset : undefined
  })
}

const readShards = (asked: Asked, reply: ReadonlyArray<Resp.Reply>): ReadonlyArray<Shard> =>
  reply.flatMap((row) => {
    const told = entriesOf(row)
    const nodes = arrayOf(told.get("nodes"), "the nodes of a shard").flatMap((node) =>
      isPrimary(node) ? [shardsNode(asked, node)] : ifSound(() => shardsNode(asked, node))
    )
    const numbers = arrayOf(told.get("slots") ?? [], "the slots of a shard")
    const ranges: Array<Range> = []
    for (let i = 0; i < numbers.length; i += 2) ranges.push(rangeOf(numbers[i], numbers[i + 1]))
    const primaries = nodes.filter((node) => node.role === "primary")
    // After a failover the former primary may still be told as one, with the health of one that has failed.
    const primary = primaries.find((node) => node.health !== "fail") ?? primaries[0]
    if (primary === undefined) return ranges.length > 0 ? malformed("a shard with slots has no primary") : []
    const replicas = nodes.filter((node) => node !== primary)
    return [{ primary, replicas: replicas.map((node) => ({ ...node, role: "replica" as const })), ranges }]
  })

// --------------------------------------------------------------------------------------------------------------- all

/** The number of slots of the ranges in all; they must not overlap. */
const coverageOf = (shards: ReadonlyArray<Shard>): number => {
  const ranges = shards.flatMap((shard) => shard.ranges).sort((a, b) => a[0] - b[0])
  let covered = 0
  let next = 0
  for (const [from, to] of ranges) {
    if (from < next) malformed(`slot ${from} has two owners`)
    covered += to - from + 1
    next = to + 1
  }
  return covered
}

/** The topology in a reply to `CLUSTER SLOTS` or `CLUSTER SHARDS`, or why there is none in it. */
export const readTopology = (command: "SLOTS" | "SHARDS", reply: Resp.Reply, asked: Asked): Topology | string => {
  if (reply instanceof Resp.ReplyError) return reply.message
  try {
    const rows = arrayOf(reply, `the reply to CLUSTER ${command}`)
    const shards = command === "SLOTS" ? readSlots(asked, rows) : readShards(asked, rows)
    return { shards, covered: coverageOf(shards) }
  } catch (thrown) {
    if (thrown instanceof Malformed) return thrown.problem
    throw thrown
  }
}

/** Config epochs by node id, from `CLUSTER NODES`: which of two owners of a slot is right. */
export const readEpochs = (text: string): ReadonlyMap<string, number> => {
  const epochs = new Map<string, number>()
  for (const line of text.split("\n")) {
    const [id = "", , , , , , epoch = ""] = line.split(" ")
    if (/^\d+$/.test(epoch)) epochs.set(id, Number(epoch))
  }
  return epochs
}

/**
 * The table of commands: which change nothing, which block, which must not be sent where, where their keys are, and
 * which nodes of a cluster they concern.
 *
 * The table comes from real servers (`COMMAND`) and the documentation of newer ones, Redis 7.0 to 8.10 with its modules and
 * Valkey 8 and 9, with what no server says beside it. A command that is not in the table (of another module, of a later
 * server) is an ordinary one: it may write, it does not block, it is not refused, and it is placed by its first argument.
 *
 * Names are read without regard to case, subcommands included, and also when they are given as bytes.
 *
 * @since 0.1.0
 */
import { commandTableData } from "./internal/commands/data.ts"
import { blockingWithoutFlag, changesNothing, leaseOnly, neverSent, newerCommands } from "./internal/commands/facts.ts"
import { blockOptions, timeoutPlaces, type TimeoutPlace } from "./internal/commands/facts.ts"
import {
  keyPositionsOf,
  noPositions,
  parseKeys,
  routePositionsOf,
  shortText,
  type Keys
} from "./internal/commands/keys.ts"
import type { Argument } from "./internal/resp/encoder.ts"

/**
 * The bits of `flagsOf`.
 *
 * - `readOnly`: running it changes nothing on the server
 * - `repeatable`: read-only, and neither blocking nor a script: it may be sent again without being asked
 * - `blocking`: the server may keep its reply back until something happens, and all later replies of the connection
 * - `script`: it runs a script or a function, which may do anything
 * - `never`: refused everywhere
 * - `leaseOnly`: refused except on a lease, which it makes dirty
 *
 * @category constants
 * @since 0.1.0
 */
export const Flags = {
  readOnly: 1,
  repeatable: 2,
  blocking: 4,
  script: 8,
  never: 16,
  leaseOnly: 32
} as const

/**
 * Where a command stands, for `refusal`: alone on the shared connection, in a pipeline, transaction or noreply on it, on a
 * lease (in whatever form), or in the option `onConnect`.
 *
 * @category models
 * @since 0.1.0
 */
export type Where = "shared" | "lease" | "onConnect" | "transaction" | "pipeline" | "noreply"

/**
 * To which nodes of a cluster a command goes, in the words of the servers' command tips: to every node, to every primary, to
 * the owners of its keys by parts, or as none of these tells.
 *
 * @see https://redis.io/docs/latest/develop/reference/command-tips/
 * @category models
 * @since 0.1.0
 */
export type RequestPolicy = "all_nodes" | "all_shards" | "multi_shard" | "special"

/**
 * How the replies of several nodes become one, in the words of the servers' command tips. `special`: no rule says it.
 *
 * @see https://redis.io/docs/latest/develop/reference/command-tips/
 * @category models
 * @since 0.1.0
 */
export type ResponsePolicy =
  | "one_succeeded"
  | "all_succeeded"
  | "agg_logical_and"
  | "agg_logical_or"
  | "agg_min"
  | "agg_max"
  | "agg_sum"
  | "special"

/**
 * A server's advice on a command in a cluster. Without `request` it goes to the owner of its keys, or to any one node when
 * it has none. Without `response` the replies are kept apart, or put together in the order of the keys.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  readonly request: RequestPolicy | undefined
  readonly response: ResponsePolicy | undefined
}

/**
 * The nodes of a cluster that a command concerns: the owner of its keys, any one, every primary, or every node.
 *
 * @category models
 * @since 0.1.0
 */
export type Reach = "slot" | "anyNode" | "allPrimaries" | "allNodes"

interface Entry {
  /** As in `client|reply`. */
  readonly name: string
  readonly flags: number
  readonly keys: Keys
  readonly policy: Policy | undefined
  /** A replica serves it: the server itself flags it as a read. */
  readonly isRead: boolean
  readonly timeout: TimeoutPlace | undefined
  /** Blocks only with the option `BLOCK`. */
  readonly blocksWhenTold: boolean
  readonly subcommands: Map<string, Entry> | undefined
  /** The flags do not depend on the arguments. */
  readonly isPlain: boolean
}

// -----------------------------------------------------------------------------
// The table
// -----------------------------------------------------------------------------

const words = (text: string): ReadonlyArray<string> => text.split(/\s+/).filter((word) => word !== "")

const lines = (text: string): ReadonlyArray<string> => text.split("\n").filter((line) => line !== "")

const requests: ReadonlyArray<RequestPolicy> = ["all_nodes", "all_shards", "multi_shard", "special"]

const responses: ReadonlyArray<ResponsePolicy> = [
  "one_succeeded",
  "all_succeeded",
  "agg_logical_and",
  "agg_logical_or",
  "agg_min",
  "agg_max",
  "agg_sum",
  "special"
]

const parsePolicy = (text: string): Policy | undefined => {
  if (text === "-") return undefined
  const [request, response] = text.split("/")
  return { request: requests.find((name) => name === request), response: responses.find((name) => name === response) }
}

const parseFlags = (name: string, letters: string): number => {
  const readOnly = letters.includes("r") || unflagged.has(name)
  const blocking = letters.includes("b") || blockingWithoutFlag.includes(name)
  const script = letters.includes("s")
  return (
    (readOnly ? Flags.readOnly : 0) |
    (readOnly && !blocking && !script ? Flags.repeatable : 0) |
    (blocking ? Flags.blocking : 0) |
    (script ? Flags.script : 0) |
    (Object.hasOwn(neverSent, name) ? Flags.never : 0) |
    (Object.hasOwn(leaseOnly, name) ? Flags.leaseOnly : 0)
  )
}

const unflagged: ReadonlySet<string> = new Set(words(changesNothing))

const parseEntry = (line: string, containers: ReadonlySet<string>): Entry => {
  const [name = "", letters = "-", keys = "-", policy = "-"] = line.split(" ")
  const blocksWhenTold = letters.includes("B")
  const isContainer = containers.has(name)
  return {
    name,
    flags: parseFlags(name, letters),
    keys: parseKeys(name, keys),
    policy: parsePolicy(policy),
    isRead: letters.includes("r"),
    timeout: timeoutPlaces[name],
    blocksWhenTold,
    subcommands: isContainer ? new Map() : undefined,
    isPlain: !blocksWhenTold && !isContainer
  }
}

/** By lower-case and upper-case name: the usual spellings cost one look-up. */
const put = (map: Map<string, Entry>, name: string, entry: Entry): void => {
  map.set(name, entry)
  map.set(name.toUpperCase(), entry)
}

const containerOf = (name: string): string => name.slice(0, Math.max(0, name.indexOf("|")))

const buildTable = (): ReadonlyMap<string, Entry> => {
  const all = [...lines(commandTableData), ...lines(newerCommands)]
  const containers = new Set(all.map(containerOf))
  const entries = all.map((line) => parseEntry(line, containers))
  const table = new Map<string, Entry>()
  for (const entry of entries) if (containerOf(entry.name) === "") put(table, entry.name, entry)
  for (const entry of entries) {
    const container = containerOf(entry.name)
    const subcommands = table.get(container)?.subcommands
    if (subcommands !== undefined) put(subcommands, entry.name.slice(container.length + 1), entry)
  }
  return table
}

const table = buildTable()

/** No name is longer, so nothing longer need be looked at. */
const LONGEST_NAME = 40

/** A name as text; `undefined` for what cannot be one. Bytes are read as ASCII, as the server reads them. */
const textOf = (argument: Argument | undefined): string | undefined => {
  if (typeof argument === "string") return argument
  return argument instanceof Uint8Array && argument.length <= LONGEST_NAME
    ? String.fromCharCode(...argument)
    : undefined
}

const find = (map: ReadonlyMap<string, Entry>, argument: Argument | undefined): Entry | undefined => {
  const name = textOf(argument)
  if (name === undefined) return undefined
  return map.get(name) ?? (name.length > LONGEST_NAME ? undefined : map.get(name.toLowerCase()))
}

/** The entry of a command. A caller without types can give something else than an array, which the encoder refuses. */
const commandOf = (args: ReadonlyArray<Argument>): Entry | undefined =>
  Array.isArray(args) ? find(table, args[0]) : undefined

/** The entry of the subcommand where there is one. A subcommand that is not known has no entry. */
const entryOf = (args: ReadonlyArray<Argument>): Entry | undefined => {
  const entry = commandOf(args)
  if (entry?.subcommands === undefined || args.length < 2) return entry
  return find(entry.subcommands, args[1])
}

// -----------------------------------------------------------------------------
// Questions
// -----------------------------------------------------------------------------

/**
 * Whether this is the name of a command, in any case. Servers may know more, as modules bring their own.
 *
 * @category guards
 * @since 0.1.0
 */
export const isKnown = (name: string): boolean => find(table, name) !== undefined

/**
 * The flags of a command, as bits of `Flags`; 0 for one that is not in the table. Costs one look-up, but for commands
 * with subcommands and for `XREAD`, `XREADGROUP` and `TS.READ`, which block only with `BLOCK`.
 *
 * @category getters
 * @since 0.1.0
 */
export const flagsOf = (args: ReadonlyArray<Argument>): number => {
  const entry = commandOf(args)
  if (entry === undefined) return 0
  return entry.isPlain ? entry.flags : flagsWithArguments(args)
}

const flagsWithArguments = (args: ReadonlyArray<Argument>): number => {
  const entry = entryOf(args)
  if (entry === undefined) return 0
  return entry.blocksWhenTold && blockPosition(entry.name, args) > 0
    ? (entry.flags | Flags.blocking) & ~Flags.repeatable
    : entry.flags
}

/**
 * Why a command must not be sent there, and what to do instead; `undefined` when it may. No argument is shown.
 *
 * @category getters
 * @since 0.1.0
 */
export const refusal = (args: ReadonlyArray<Argument>, where: Where): string | undefined => {
  const flags = flagsOf(args)
  if ((flags & (Flags.never | Flags.leaseOnly | Flags.blocking)) === 0) return undefined
  const entry = entryOf(args)
  return entry === undefined ? undefined : explain(entry, flags, where)
}

const explain = (entry: Entry, flags: number, where: Where): string | undefined => {
  const name = displayName(entry)
  const never = (flags & Flags.never) === 0 ? undefined : neverSent[entry.name]
  if (never !== undefined) {
    return `${name} cannot be sent as a command: the replies of the other calls would no longer be told apart. ${never}`
  }
  const state = (flags & Flags.leaseOnly) === 0 ? undefined : leaseOnly[entry.name]
  if (state !== undefined && where !== "lease" && !(where === "onConnect" && state.onConnect)) {
    return where === "onConnect"
      ? `${name} cannot stand in \`onConnect\`. ${state.instead}`
      : `${name} concerns its connection, which other calls share. ${state.instead}`
  }
  if ((flags & Flags.blocking) === 0) return undefined
  if (where === "onConnect") return `${name} would keep the connection from becoming ready. Use Redis.command for it`
  return where === "noreply"
    ? `${name} would block the connection that other calls share, for a reply that nobody reads. Use Redis.command for it`
    : undefined
}

const displayName = (entry: Entry): string => entry.name.replace("|", " ").toUpperCase()

/**
 * All keys of a command, in the server's order. Empty for a command without keys, for one that is not in the table, and for
 * a command line that the server would call malformed.
 *
 * @category getters
 * @since 0.1.0
 */
export const keys = (args: ReadonlyArray<Argument>): ReadonlyArray<Argument> => pick(args, keyPositions(args))

const pick = (args: ReadonlyArray<Argument>, positions: ReadonlyArray<number>): ReadonlyArray<Argument> =>
  positions.flatMap((position) => args[position] ?? [])

/**
 * Where the keys of a command are in `args`, its name being at 0: as `keys`, by position. The array may be shared: leave it
 * as it is. A command with one key at a fixed place, such as `GET`, costs one look-up.
 *
 * @category getters
 * @since 0.1.0
 */
export const keyPositions = (args: ReadonlyArray<Argument>): ReadonlyArray<number> => {
  const entry = entryOf(args)
  return entry === undefined ? noPositions : keyPositionsOf(entry.keys, args)
}

/**
 * Where the arguments are by which a cluster places a command, as `keyPositions`: its keys; the channels of `SPUBLISH` and its
 * like; the first argument of a command that is not in the table; and of a malformed command line what can be found.
 *
 * @category getters
 * @since 0.1.0
 */
export const routePositions = (args: ReadonlyArray<Argument>): ReadonlyArray<number> => {
  const entry = entryOf(args)
  if (entry !== undefined) return routePositionsOf(entry.keys, args)
  return args.length > 1 && find(table, args[0]) === undefined ? firstArgument : noPositions
}

const firstArgument: ReadonlyArray<number> = Object.freeze([1])

/**
 * The first key of a command, by which it is placed; `undefined` when it has none. For `SPUBLISH` it is the channel, which
 * is placed like a key; for a command that is not in the table, its first argument.
 *
 * @category getters
 * @since 0.1.0
 */
export const firstKey = (args: ReadonlyArray<Argument>): Argument | undefined => {
  const first = routePositions(args)[0]
  return first === undefined ? undefined : args[first]
}

/**
 * The servers' command tips for a command in a cluster; `undefined` when there are none, or the command is not in
 * the table. Where servers differ, the newest one is right.
 *
 * @category getters
 * @since 0.1.0
 */
export const policyOf = (args: ReadonlyArray<Argument>): Policy | undefined => entryOf(args)?.policy

/**
 * The nodes of a cluster that a command concerns, by its policy and its keys. It tells what the servers advise: a caller that
 * wants the `INFO` of one node only is free to ask it.
 *
 * @category getters
 * @since 0.1.0
 */
export const reachOf = (args: ReadonlyArray<Argument>): Reach => {
  const request = policyOf(args)?.request
  if (request === "all_nodes") return "allNodes"
  if (request === "all_shards") return "allPrimaries"
  return routePositions(args).length > 0 ? "slot" : "anyNode"
}

/**
 * Whether a replica may serve the command: the server itself flags it as a read, and it does not block now. Narrower than
 * `Flags.readOnly`, which also holds commands about the connection or the server, such as `CONFIG GET`.
 *
 * @category getters
 * @since 0.1.0
 */
export const isReplicaRead = (args: ReadonlyArray<Argument>): boolean => {
  const entry = entryOf(args)
  return entry !== undefined && entry.isRead && (flagsOf(args) & Flags.blocking) === 0
}

/**
 * How long the server may block on this command, in milliseconds; 0 is for ever. `undefined` when the command does not
 * block, or when its timeout cannot be read (then the server refuses it at once).
 *
 * @category getters
 * @since 0.1.0
 */
export const blockingTimeoutMillis = (args: ReadonlyArray<Argument>): number | undefined => {
  const entry = commandOf(args)
  const place = entry?.timeout
  if (entry === undefined || place === undefined) return undefined
  const timeout = readTimeout(timeoutArgument(entry.name, place, args))
  return timeout === undefined ? undefined : Math.ceil(place.unit === "seconds" ? timeout * 1000 : timeout)
}

const timeoutArgument = (name: string, place: TimeoutPlace, args: ReadonlyArray<Argument>): Argument | undefined => {
  if (place.at === "last") return args.length > 1 ? args[args.length - 1] : undefined
  if (place.at !== "BLOCK") return args[place.at]
  const position = blockPosition(name, args)
  return position > 0 ? args[position + 1] : undefined
}

const readTimeout = (argument: Argument | undefined): number | undefined => {
  const text = shortText(argument)
  const value = /^[+]?[\d.]/.test(text) ? Number(text) : NaN
  return Number.isFinite(value) ? value : undefined
}

/**
 * Where the option `BLOCK` is, or 0. Options are read as the server reads them, each with its values, so that a group, a
 * consumer or a key that is called `BLOCK` or `STREAMS` is not taken for one. The last one counts.
 */
const blockPosition = (name: string, args: ReadonlyArray<Argument>): number => {
  const options = blockOptions[name]
  if (options === undefined) return 0
  let position = 0
  for (let index = options.from; index < args.length; index++) {
    const word = shortText(args[index]).toUpperCase()
    if (word === "BLOCK") position = index
    index += options.values.get(word) ?? 0
  }
  return position
}

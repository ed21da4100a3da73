/**
 * What Relive knows of commands: which change nothing, which block, which must not be sent where, where the first key is.
 *
 * The table comes from a real server (`COMMAND`), with what newer servers know and what no server says beside it. A command
 * that is not in the table (of a module, of a later server) is an ordinary one: it may write, it does not block, it is
 * not refused, and its first key is its first argument.
 *
 * Names are read without regard to case, subcommands included, and also when they are given as bytes.
 *
 * @since 0.1.0
 */
import { changesNothing, leaseOnly, neverSent, newerCommands, blockingWithoutFlag } from "./internal/commands/facts.ts"
import { timeoutPlaces, type TimeoutPlace } from "./internal/commands/facts.ts"
import { commandTableData } from "./internal/commands/data.ts"
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

type Key =
  | { readonly _tag: "None" }
  | { readonly _tag: "At"; readonly index: number }
  | { readonly _tag: "Counted"; readonly index: number }
  | { readonly _tag: "Streams" }

interface Entry {
  /** As in `client|reply`. */
  readonly name: string
  readonly flags: number
  readonly key: Key
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

const parseKey = (text: string): Key => {
  if (text === "-") return { _tag: "None" }
  if (text === "STREAMS") return { _tag: "Streams" }
  return text.startsWith("n") ? { _tag: "Counted", index: Number(text.slice(1)) } : { _tag: "At", index: Number(text) }
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
  const [name = "", letters = "-", key = "-"] = line.split(" ")
  const blocksWhenTold = letters.includes("B")
  const isContainer = containers.has(name)
  return {
    name,
    flags: parseFlags(name, letters),
    key: parseKey(key),
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
const longestName = 40

/** A name as text; `undefined` for what cannot be one. Bytes are read as ASCII, as the server reads them. */
const nameOf = (argument: Argument | undefined): string | undefined => {
  if (typeof argument === "string") return argument
  return argument instanceof Uint8Array && argument.length <= longestName ? String.fromCharCode(...argument) : undefined
}

const find = (map: ReadonlyMap<string, Entry>, argument: Argument | undefined): Entry | undefined => {
  const name = nameOf(argument)
  if (name === undefined) return undefined
  return map.get(name) ?? (name.length > longestName ? undefined : map.get(name.toLowerCase()))
}

/** The entry of the subcommand where there is one. A subcommand that is not known has no entry. */
const entryOf = (args: ReadonlyArray<Argument>): Entry | undefined => {
  const entry = find(table, args[0])
  if (entry?.subcommands === undefined || args.length < 2) return entry
  return find(entry.subcommands, args[1])
}

// -----------------------------------------------------------------------------
// Questions
// -----------------------------------------------------------------------------

/**
 * Is this the name of a command, in any case? Servers may know more, as modules bring their own.
 *
 * @category guards
 * @since 0.1.0
 */
export const isKnown = (name: string): boolean => find(table, name) !== undefined

/**
 * What is known of a command, as bits of `Flags`; 0 for one that is not in the table. Costs one look-up, but for commands
 * with subcommands and for `XREAD` and `XREADGROUP`, which block only with `BLOCK`.
 *
 * @category getters
 * @since 0.1.0
 */
export const flagsOf = (args: ReadonlyArray<Argument>): number => {
  const entry = find(table, args[0])
  if (entry === undefined) return 0
  return entry.isPlain ? entry.flags : flagsWithArguments(args)
}

const flagsWithArguments = (args: ReadonlyArray<Argument>): number => {
  const entry = entryOf(args)
  if (entry === undefined) return 0
  return entry.blocksWhenTold && readStreamCall(args).blocks
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
 * The first key of a command, by which it is placed; `undefined` when it has none. For `SPUBLISH` it is the channel, which
 * is placed like a key.
 *
 * @category getters
 * @since 0.1.0
 */
export const firstKey = (args: ReadonlyArray<Argument>): Argument | undefined => {
  const command = find(table, args[0])
  if (command === undefined) return args[1]
  const key = entryOf(args)?.key
  switch (key?._tag) {
    case "At":
      return args[key.index]
    case "Counted":
      return hasKeys(args[key.index]) ? args[key.index + 1] : undefined
    case "Streams":
      return readStreamCall(args).key
    default:
      return undefined
  }
}

const hasKeys = (count: Argument | undefined): boolean => Number(textOf(count)) > 0

/**
 * How long the server may block on this command, in milliseconds; 0 is for ever. `undefined` when the command does not
 * block, or when its timeout cannot be read (then the server refuses it at once).
 *
 * @category getters
 * @since 0.1.0
 */
export const blockingTimeoutMillis = (args: ReadonlyArray<Argument>): number | undefined => {
  const place = find(table, args[0])?.timeout
  if (place === undefined) return undefined
  const timeout = readTimeout(timeoutArgument(place, args))
  return timeout === undefined ? undefined : Math.ceil(place.unit === "seconds" ? timeout * 1000 : timeout)
}

const timeoutArgument = (place: TimeoutPlace, args: ReadonlyArray<Argument>): Argument | undefined => {
  switch (place.at) {
    case "first":
      return args[1]
    case "last":
      return args.length > 1 ? args[args.length - 1] : undefined
    case "BLOCK":
      return readStreamCall(args).block
  }
}

const readTimeout = (argument: Argument | undefined): number | undefined => {
  const text = textOf(argument)
  const value = /^[+]?[\d.]/.test(text) ? Number(text) : NaN
  return Number.isFinite(value) ? value : undefined
}

/** A short argument as the text that is sent; the empty text for what is no number or word. */
const textOf = (argument: Argument | undefined): string =>
  typeof argument === "number" || typeof argument === "bigint" ? String(argument) : (nameOf(argument) ?? "")

interface StreamCall {
  readonly blocks: boolean
  readonly block: Argument | undefined
  readonly key: Argument | undefined
}

/**
 * Reads the options of `XREAD` and `XREADGROUP` as the server does, each with its values, so that a group, a consumer or a
 * key that is called `BLOCK` or `STREAMS` is not taken for one.
 */
const readStreamCall = (args: ReadonlyArray<Argument>): StreamCall => {
  let blocks = false
  let block: Argument | undefined
  let index = 1
  while (index < args.length) {
    const word = textOf(args[index]).toUpperCase()
    if (word === "STREAMS") return { blocks, block, key: args[index + 1] }
    if (word === "BLOCK") {
      blocks = true
      block = args[index + 1]
    }
    index += 1 + (valuesOfOption.get(word) ?? 0)
  }
  return { blocks, block, key: undefined }
}

const valuesOfOption: ReadonlyMap<string, number> = new Map([
  ["BLOCK", 1],
  ["COUNT", 1],
  ["CLAIM", 1],
  ["GROUP", 2]
])

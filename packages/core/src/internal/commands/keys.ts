/**
 * Where the keys of a command stand, by the key specifications that servers give with `COMMAND`. As text, one or more of
 * these, with commas between them:
 *
 * - `1`: the argument at that position (the name of the command is at 0; a subcommand counts)
 * - `1..-1`, `1..2`: from there to the last one (`-2`: to the last but one), or to that position
 * - `1..-1/2`: every second one of them
 * - `n2`: a number at that position, and so many keys after it; `n2/2`: every second one after it
 * - `STORE@6`: the argument after that word, which is looked for from that position on; `STREAMS@1..-1%2`: the first half of
 *   what follows it
 * - `#1`: a channel of sharded pub/sub, which is no key but is placed like one
 * - `?`: what no specification can say, so that `procedures` has it
 *
 * @internal
 */
import type { Argument } from "../resp/encoder.ts"

/** The keys of one command. */
export interface Keys {
  readonly specs: ReadonlyArray<KeySpec>
  /** The channels of sharded pub/sub. */
  readonly channels: ReadonlyArray<KeySpec>
  readonly procedure: Procedure | undefined
  /** Its position alone, when the command has one key at a fixed place, as most have: nothing is allocated for these. */
  readonly single: ReadonlyArray<number> | undefined
}

interface KeySpec {
  /** Upper case. The keys follow this word, when it is there at all. */
  readonly word: string | undefined
  readonly at: number
  /** A position, or negative from the end. */
  readonly last: number
  readonly step: number
  readonly limit: number
  readonly isCounted: boolean
}

type Procedure = (args: ReadonlyArray<Argument>) => ReadonlyArray<number>

export const noPositions: ReadonlyArray<number> = Object.freeze([])

// -----------------------------------------------------------------------------
// From text
// -----------------------------------------------------------------------------

const pattern = /^(?:([A-Z]+)@)?(n?)(\d+)(?:\.\.(-?\d+))?(?:\/(\d+))?(?:%(\d+))?$/

const parseSpec = (text: string): KeySpec => {
  const [, word, counted, at = "", last = at, step = "1", limit = "1"] = pattern.exec(text) ?? []
  return {
    word,
    at: Number(at),
    last: Number(last),
    step: Number(step),
    limit: Number(limit),
    isCounted: counted === "n"
  }
}

const isFixed = (spec: KeySpec): boolean => spec.word === undefined && !spec.isCounted && spec.last === spec.at

/** The keys of a command as the table has them. */
export const parseKeys = (name: string, text: string): Keys => {
  const parts = text === "-" ? [] : text.split(",")
  const specs = parts.filter((part) => part !== "?" && !part.startsWith("#")).map(parseSpec)
  const channels = parts.filter((part) => part.startsWith("#")).map((part) => parseSpec(part.slice(1)))
  const [first] = specs
  const procedure = parts.includes("?") ? procedures.get(name) : undefined
  const isSingle = first !== undefined && specs.length === 1 && procedure === undefined && isFixed(first)
  return { specs, channels, procedure, single: isSingle ? Object.freeze([first.at]) : undefined }
}

// -----------------------------------------------------------------------------
// To positions
// -----------------------------------------------------------------------------

/** The positions of the keys, in the server's order; none of a command line that the server calls malformed. */
export const keyPositionsOf = (keys: Keys, args: ReadonlyArray<Argument>): ReadonlyArray<number> => {
  if (keys.single !== undefined) return args.length > (keys.single[0] ?? 0) ? keys.single : noPositions
  if (keys.procedure !== undefined) return keys.procedure(args)
  if (keys.specs.length === 0) return noPositions
  const found: Array<number> = []
  return keys.specs.every((spec) => collect(spec, args, found)) ? found : noPositions
}

/** As `keyPositionsOf`, with the channels of sharded pub/sub, and with what can be found in a malformed command line. */
export const routePositionsOf = (keys: Keys, args: ReadonlyArray<Argument>): ReadonlyArray<number> => {
  if (keys.single !== undefined || keys.procedure !== undefined) return keyPositionsOf(keys, args)
  const specs = keys.channels.length > 0 ? keys.channels : keys.specs
  if (specs.length === 0) return noPositions
  const found: Array<number> = []
  for (const spec of specs) collect(spec, args, found)
  return found
}

/** Adds the keys of one specification; false when the command line does not fit it. */
const collect = (spec: KeySpec, args: ReadonlyArray<Argument>, found: Array<number>): boolean => {
  if (spec.isCounted) return collectCounted(spec, args, found)
  const first = spec.word === undefined ? spec.at : positionAfter(spec.word, spec.at, args)
  if (first === undefined) return true
  const last = lastOf(spec, first, args.length)
  // A key without the value that belongs to it, as in `MSET k`, is none.
  if (last < first || args.length - first < spec.step) return false
  for (let at = first; at <= last && at < args.length; at += spec.step) found.push(at)
  return true
}

const lastOf = (spec: KeySpec, first: number, length: number): number => {
  if (spec.last >= 0) return first + spec.last - spec.at
  return spec.limit > 1 ? first + Math.floor((length - first) / spec.limit) + spec.last : length + spec.last
}

const collectCounted = (spec: KeySpec, args: ReadonlyArray<Argument>, found: Array<number>): boolean => {
  const first = spec.at + 1
  const count = countIn(args[spec.at])
  if (count < 1 || count > Math.floor((args.length - first) / spec.step)) return false
  for (let index = 0; index < count; index++) found.push(first + index * spec.step)
  return true
}

/** A word at the very end is followed by nothing, so the server does not look there. */
const positionAfter = (word: string, from: number, args: ReadonlyArray<Argument>): number | undefined => {
  for (let at = from; at < args.length - 1; at++) if (isWord(args[at], word)) return at + 1
  return undefined
}

/** Reads a number of keys as the server does, by C's `atoi`: `+1`, `1.5` and `1x` are 1, what is no number is 0. */
const countIn = (argument: Argument | undefined): number => {
  const text = /^[\t-\r ]*([+-]?\d+)/.exec(shortText(argument))
  return text === null ? 0 : Number(text[1])
}

/** No word or number that is looked for is longer. */
const LONGEST_TEXT = 40

/** A short argument as the text that is sent, bytes read as ASCII; the empty text for a longer one, which is no word. */
export const shortText = (argument: Argument | undefined): string => {
  if (typeof argument === "string") return argument.length <= LONGEST_TEXT ? argument : ""
  if (argument instanceof Uint8Array) return argument.length <= LONGEST_TEXT ? String.fromCharCode(...argument) : ""
  return argument === undefined ? "" : String(argument)
}

const isWord = (argument: Argument | undefined, word: string): boolean => shortText(argument).toUpperCase() === word

const isEmpty = (argument: Argument | undefined): boolean =>
  argument === "" || (argument instanceof Uint8Array && argument.length === 0)

// -----------------------------------------------------------------------------
// Keys that no specification can describe
// -----------------------------------------------------------------------------

/** The values that options have after them, which could look like the option that is looked for. */
type Values = ReadonlyMap<string, number>

const sortOptions: Values = new Map([
  ["LIMIT", 2],
  ["GET", 1],
  ["BY", 1]
])

const migrateOptions: Values = new Map([
  ["AUTH", 1],
  ["AUTH2", 2]
])

/** The key, and that of the last `STORE`, which is the one that counts. */
const sortKeys: Procedure = (args) => {
  if (args.length < 2) return noPositions
  let store: number | undefined
  for (let at = 2; at < args.length; at++) {
    const word = shortText(args[at]).toUpperCase()
    if (word === "STORE" && at + 1 < args.length) store = ++at
    else at += sortOptions.get(word) ?? 0
  }
  return store === undefined ? [1] : [1, store]
}

/** The one key, or when it is empty those after `KEYS`. The server takes a key and `KEYS` together for a mistake. */
const migrateKeys: Procedure = (args) => {
  for (let at = 6; at < args.length; at++) {
    const word = shortText(args[at]).toUpperCase()
    if (word === "KEYS") {
      if (!isEmpty(args[3])) return noPositions
      return Array.from({ length: args.length - at - 1 }, (_, index) => at + 1 + index)
    }
    at += migrateOptions.get(word) ?? 0
  }
  return args.length > 3 ? [3] : noPositions
}

const procedures: ReadonlyMap<string, Procedure> = new Map([
  ["sort", sortKeys],
  ["migrate", migrateKeys]
])

/**
 * Checks records: recordings of real servers, and facts of a peer. See `run.ts`.
 */
import * as Command from "@relive/core/Command"
import * as Reader from "@relive/core/Reader"
import * as Resp from "@relive/core/Resp"
import { nameIn } from "../scripts/lib/facts.ts"
import { internal, refused } from "../scripts/overrides.ts"
import { allFacts, allFunctions, type Function } from "../scripts/lib/functions.ts"
import { isList, type Json, matches, sameContent, toNeutral } from "./neutral.ts"
import { makerOf } from "./samples.ts"
import { argumentsOf, equivalent, wordOf } from "./words.ts"

export interface Recording {
  readonly id: string
  readonly name: string
  readonly command: ReadonlyArray<string>
  readonly setup: ReadonlyArray<ReadonlyArray<string>>
  readonly resp2: string
  readonly resp3: string
  readonly value?: Json
  readonly value2?: Json
  readonly value3?: Json
}

export interface PeerWire {
  readonly id: string
  readonly wire: ReadonlyArray<string | { readonly $bytes: string }>
}

export interface PeerReply extends PeerWire {
  readonly setup: ReadonlyArray<PeerWire["wire"]>
  readonly keys: ReadonlyArray<string>
  readonly peerValue: Json
  readonly recorded?: ReadonlyArray<{ readonly resp2: string; readonly resp3: string }>
}

/** Nothing, what is wrong, or why it does not count. */
export type Outcome = undefined | { readonly problem: string } | { readonly excuse: string }

const problem = (text: string): Outcome => ({ problem: text })

const facts = allFacts()

const functions: ReadonlyMap<string, Function> = new Map(allFunctions().map((one) => [one.facts.name, one]))

// -----------------------------------------------------------------------------
// Words to a command
// -----------------------------------------------------------------------------

/** A function's call for these words, or what is wrong. */
interface Typed {
  readonly command: Command.Command<unknown, unknown>
  /** The same with `pairs: true`, where there is that. */
  readonly pairs: Command.Command<unknown, unknown> | undefined
  /** Why its words are others, on purpose. */
  readonly excuse?: string
}

const typed = (name: string, words: ReadonlyArray<string>): Typed | Outcome => {
  const one = functions.get(name)
  if (one === undefined) return withoutFunction(name)
  const skip = name.split(" ").length
  const args = argumentsOf(one.signature, words.slice(skip))
  if (args === undefined) {
    return isIncomplete(name, words)
      ? { excuse: "The peer leaves out what every server asks for, and a typed call cannot" }
      : problem("no arguments give these words")
  }
  const make = makerOf(one)
  const command = make(...args)
  if (command.failure !== undefined) return problem(`refused: ${command.failure.message}`)
  const made = command.args.map(wordOf)
  if (!equivalent(one.signature, skip, words, made)) {
    const withoutPath = made.filter((word) => word !== "$")
    return name.startsWith("JSON.") && equivalent(one.signature, skip, words, withoutPath)
      ? {
          command,
          pairs: undefined,
          excuse: "A path is always sent, since its default differs between RESP2 and RESP3"
        }
      : problem(`the words are ${JSON.stringify(made)}`)
  }
  const hasPairs = one.signature.options.some((option) => option.name === "pairs")
  return { command, pairs: hasPairs ? make(...withPairs(one, args)) : undefined }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const withoutFunction = (name: string): Outcome => {
  if (refused.includes(name)) return { excuse: "Refused everywhere, so there is no function: see CommandTable" }
  if (internal.includes(name)) return { excuse: "For servers among themselves, so there is no function" }
  return problem(`no function for ${name}`)
}

/** Words that no server takes: a limit of a stream without its strategy, a slot without its node. */
const isIncomplete = (name: string, words: ReadonlyArray<string>): boolean =>
  (name === "XADD" && !words.includes("MAXLEN") && !words.includes("MINID") && /^\d+$/.test(words[2] ?? "")) ||
  (name === "CLUSTER SETSLOT" && words.length === 4)

/** The same arguments, and `pairs: true` among the options. */
const withPairs = ({ signature }: Function, args: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  const options = args[signature.params.length]
  const all = signature.params.map((_, index) => args[index])
  return [...all, { ...(isRecord(options) ? options : {}), pairs: true }]
}

const isTyped = (value: Typed | Outcome): value is Typed => value !== undefined && "command" in value

/** The typed command that sends these words; undefined when there is none. */
export const commandOf = (
  name: string,
  words: ReadonlyArray<string>
): Command.Command<unknown, unknown> | undefined => {
  const found = typed(name, words)
  return isTyped(found) ? found.command : undefined
}

// -----------------------------------------------------------------------------
// Bytes to values
// -----------------------------------------------------------------------------

const decode = (text: string, mode: "text" | "bytes"): Resp.Reply | Resp.DecodeError => {
  const decoder = Resp.makeDecoder({ decode: mode })
  const out: Array<Resp.Decoded<Resp.Reply>> = []
  decoder.push(Buffer.from(text, "latin1"), out)
  const [first] = out
  if (out.length !== 1 || first instanceof Resp.Push) throw new Error(`${out.length} replies`)
  if (!(first instanceof Resp.ReplyFailure)) return first
  if (first.error instanceof Resp.DecodeError) return first.error
  throw new Error(first.error.message)
}

/** The value of a reply, in one mode. */
export const valueOf = (reader: Reader.Reader<unknown, unknown>, text: string, mode: "text" | "bytes"): unknown => {
  const reply = decode(text, mode)
  if (reply instanceof Resp.DecodeError || reply instanceof Resp.ReplyError) return reply
  return Reader.read(reader, reply, mode)
}

/** An integer that no number holds is refused, and read by `Command.asBigInt`. */
const exact = (reader: Reader.Reader<unknown, unknown>, text: string): Reader.Reader<unknown, unknown> => {
  const value = valueOf(reader, text, "text")
  if (!(value instanceof Resp.DecodeError) || value.reason !== "integer") return reader
  return Command.asBigInt(Command.make(["INCR"], Reader.integer)).reply
}

const readProblem = (
  plainReader: Reader.Reader<unknown, unknown>,
  text: string,
  expected: Json,
  protocol: string
): string | undefined => {
  const reader = exact(plainReader, text)
  const value = valueOf(reader, text, "text")
  const isBinary = value instanceof Resp.DecodeError && value.reason === "utf8"
  if (!isBinary && !matches(expected, toNeutral(value))) {
    return `${protocol}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(toNeutral(value))}`
  }
  const bytes = toNeutral(valueOf(reader, text, "bytes"))
  return matches(expected, bytes, true)
    ? undefined
    : `${protocol} as bytes: expected ${JSON.stringify(expected)}, got ${JSON.stringify(bytes)}`
}

const isError = (value: Json | undefined): boolean =>
  typeof value === "object" && value !== null && !Array.isArray(value) && "$error" in value

/** How what has no function is read: it is refused everywhere, or between servers. */
const refusedReaders: Readonly<Record<string, Reader.Reader<unknown, unknown>>> = {
  HELLO: Reader.struct({ modules: Reader.list(Reader.struct({ args: Reader.list(Reader.text) })) })
}

/** The commands that a transaction has queued. */
const queuedIn = (setup: Recording["setup"]): Recording["setup"] | undefined => {
  const at = setup.findLastIndex(([name]) => name?.toUpperCase() === "MULTI")
  return at === -1 ? undefined : setup.slice(at + 1)
}

/** Each element read by the command that was queued for it, as a transaction does. */
const execReader = (setup: Recording["setup"]): Reader.Reader<unknown, unknown> => {
  const commands = (queuedIn(setup) ?? []).map((words) => {
    const found = typed(nameIn(facts, words), words)
    return isTyped(found) ? found.command : Command.make(words)
  })
  const elements = (mode: "text" | "bytes") => (reply: Resp.Reply) =>
    Array.isArray(reply)
      ? reply.map((item: Resp.Reply, index) =>
          item instanceof Resp.ReplyError ? item : (commands[index] ?? Command.make(["EXEC"])).reply[mode](item)
        )
      : reply
  return { text: elements("text"), bytes: elements("bytes") }
}

const readersOf = (record: Recording): ReadonlyArray<Reader.Reader<unknown, unknown>> | Outcome => {
  if (record.name === "EXEC") return [execReader(record.setup)]
  // Between MULTI and EXEC by hand a server answers any command with this word.
  if (record.resp3 === "+QUEUED\r\n" && queuedIn(record.setup) !== undefined)
    return [Command.make(record.command).reply]
  if (!functions.has(record.name)) return [refusedReaders[record.name] ?? Command.make(record.command).reply]
  const found = typed(record.name, record.command)
  if (isTyped(found)) return [found.command.reply, ...(found.pairs === undefined ? [] : [found.pairs.reply])]
  // What the types refuse, the server refuses, too.
  return isError(record.value) ? [Command.make(record.command).reply] : found
}

const isReaders = (found: ReturnType<typeof readersOf>): found is ReadonlyArray<Reader.Reader<unknown, unknown>> =>
  Array.isArray(found)

export const checkRecording = (record: Recording): Outcome => {
  const readers = readersOf(record)
  if (!isReaders(readers)) return readers
  for (const reader of readers) {
    for (const [protocol, text, own] of [
      ["RESP2", record.resp2, record.value2],
      ["RESP3", record.resp3, record.value3]
    ] as const) {
      const expected = record.value ?? own ?? record.value3 ?? null
      const found = readProblem(reader, text, expected, protocol)
      if (found !== undefined) return problem(found)
    }
  }
  return undefined
}

// -----------------------------------------------------------------------------
// The peer's facts
// -----------------------------------------------------------------------------

/** Words as characters that are bytes. */
const plainWords = (wire: PeerWire["wire"]): ReadonlyArray<string> =>
  wire.map((word) => (typeof word === "string" ? word : Buffer.from(word.$bytes, "hex").toString("latin1")))

export const checkWire = (record: PeerWire): Outcome => {
  const wire = plainWords(record.wire)
  const name = nameIn(facts, wire)
  const found = typed(name, wire)
  if (!isTyped(found)) return found
  return found.excuse === undefined ? undefined : { excuse: found.excuse }
}

/** What the peer makes of a reply, made a reply again: for commands that no recorded server knows. */
const candidates = (value: Json): ReadonlyArray<Resp.Reply> => [
  asReply(value, "map"),
  asReply(value, "list"),
  ...asModule(value)
]

const numbers: Readonly<Record<string, number>> = { nan: NaN, inf: Infinity, "-inf": -Infinity, "-0": -0 }

const asReply = (value: Json, objects: "map" | "list"): Resp.Reply => {
  if (isList(value)) return value.map((item) => asReply(item, objects))
  if (typeof value !== "object" || value === null) return value
  if (typeof value.$double === "string") return numbers[value.$double] ?? NaN
  if (typeof value.$bigint === "string") return BigInt(value.$bigint)
  const entries = Object.entries(value).map(([name, item]): [Resp.Reply, Resp.Reply] => [name, asReply(item, objects)])
  return objects === "map" ? new Map(entries) : entries.map(([, item]) => item)
}

const member = (value: Json, name: string): Json | undefined =>
  typeof value === "object" && value !== null && !isList(value) && name in value ? value[name] : undefined

/** The forms of search and time series, which the peer renames. */
const asModule = (value: Json): ReadonlyArray<Resp.Reply> => {
  const total = member(value, "total")
  const documents = member(value, "documents") ?? member(value, "results")
  if (typeof total === "number" && Array.isArray(documents)) {
    const results = documents.map((item: Json): Resp.Reply =>
      typeof item === "string"
        ? new Map([["id", item]])
        : new Map<Resp.Reply, Resp.Reply>([
            ["id", asReply(member(item, "id") ?? "", "map")],
            ["extra_attributes", asReply(member(item, "value") ?? item, "map")]
          ])
    )
    const reply = new Map<Resp.Reply, Resp.Reply>([
      ["total_results", total],
      ["results", results],
      ["warning", asReply(member(value, "warnings") ?? [], "map")]
    ])
    const cursor = member(value, "cursor")
    return typeof cursor === "number" ? [[reply, cursor]] : [reply]
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return []
  const series = Object.entries(value).map(([key, item]): [string, Resp.Reply] => {
    const samples = member(item, "samples") ?? member(item, "sample") ?? item
    const sources = member(item, "sources")
    return [
      key,
      [
        asReply(member(item, "labels") ?? {}, "map"),
        ...(sources === undefined ? [] : [new Map([["sources", asReply(sources, "map")]])]),
        asReply(samples, "list")
      ]
    ]
  })
  return [new Map<Resp.Reply, Resp.Reply>(series)]
}

/** JSON text, which the peer parses. */
const parsed = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(parsed)
  if (typeof value !== "string") return value
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

const acceptsPeer = (name: string, reader: Reader.Reader<unknown, unknown>, value: Json): boolean => {
  const isJson = name.startsWith("JSON.")
  const text: ReadonlyArray<Resp.Reply> = isJson ? [JSON.stringify(value)] : []
  return [...text, ...candidates(value)].some((reply) => {
    const read = Reader.read(reader, reply, "text")
    if (read instanceof Resp.DecodeError) return false
    const found = toNeutral(read)
    return sameContent(found, value) || (isJson && sameContent(parsed(found), value))
  })
}

/** Does a server of the recordings know the command, in this form? */
const isRecorded = (words: ReadonlyArray<string>): boolean => {
  const name = nameIn(facts, words)
  if (/^Z.*STORE$/.test(name) && words.includes("COUNT")) return false
  return facts.get(name)?.servers.some((server) => server !== "redis-8.10") ?? false
}

/** Servers say more as they get newer: all that the older ones say is the same. */
const saysMore = (older: Json, newer: Json): boolean => {
  const names =
    typeof older === "object" && older !== null && !Array.isArray(older) && "$map" in older ? older.$map : undefined
  if (!Array.isArray(names) || typeof newer !== "object" || newer === null || Array.isArray(newer)) return false
  return names.every((pair: Json) => {
    const [name, value] = Array.isArray(pair) ? pair : []
    const other = typeof name === "string" ? member(newer, name) : undefined
    return value !== undefined && other !== undefined && sameContent(value, other)
  })
}

/**
 * The content of a reply is what the peer expects. Where no recorded server knows the command, or one that comes before it,
 * what the peer expects is read as a reply instead.
 */
export const checkReply = (record: PeerReply): Outcome => {
  const wire = plainWords(record.wire)
  const name = nameIn(facts, wire)
  const found = typed(name, wire)
  if (!isTyped(found)) return found
  const { reply: reader } = found.command
  const isKnown = [wire, ...record.setup.map(plainWords)].every(isRecorded)
  const raw = isKnown ? (record.recorded ?? []).filter(({ resp2 }) => !resp2.startsWith("-")) : []
  if (raw.length === 0) {
    if (isError(record.peerValue) || acceptsPeer(name, reader, record.peerValue)) return undefined
    return problem(`the reply of the peer, ${JSON.stringify(record.peerValue)}, cannot be read`)
  }
  const values = raw
    .flatMap(({ resp2, resp3 }) => [resp2, resp3])
    .map((text) => toNeutral(valueOf(reader, text, "text")))
  return values.some((value) => sameContent(value, record.peerValue) || saysMore(value, record.peerValue))
    ? undefined
    : problem(`expected the content of ${JSON.stringify(record.peerValue)}, got ${JSON.stringify(values[0])}`)
}

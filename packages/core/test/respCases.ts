/**
 * The conformance cases of the decoder: reading them, and checking one.
 *
 * The values of a case are compared with what the `Frame` decoder gives, kind by kind; doubles by their number, as their
 * text is not kept.
 */
import * as Resp from "@relive/core/Resp"
import { alike, decodedReplyOf, shown } from "./respMapping.ts"

/** One case. Its values stay JSON until they are compared. */
export interface Case {
  readonly id: string
  readonly bytes: Uint8Array
  readonly outcome: "values" | "fatal" | "incomplete" | "limit"
  readonly values: ReadonlyArray<unknown> | undefined
  readonly limits: Partial<Resp.Limits>
  readonly decode: "text" | "bytes"
}

type Json = { readonly [key: string]: unknown }

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

const outcomes = ["values", "fatal", "incomplete", "limit"] as const

const limitNames = ["maxDepth", "maxElements", "maxBulkBytes", "maxBigNumberDigits"] as const

/** A line of the file, or what is wrong with it. */
export const parseCase = (line: string, number: number): Case | string => {
  let json: unknown
  try {
    json = JSON.parse(line)
  } catch {
    return `line ${number} is not JSON`
  }
  if (!isRecord(json)) return `line ${number} is no object`
  const { id, hex, outcome, values, limits, decode } = json
  const known = outcomes.find((name) => name === outcome)
  if (typeof id !== "string") return "it has no id"
  if (typeof hex !== "string" || !/^(?:[0-9a-f]{2})*$/i.test(hex)) return "its hex is not hexadecimal"
  if (known === undefined) return `its outcome is unknown: ${String(outcome)}`
  if (values !== undefined && !Array.isArray(values)) return "its values are no array"
  if (known === "values" && values === undefined) return "it has no values"
  if (decode !== undefined && decode !== "bytes" && decode !== "text") return "its decode is unknown"
  const bounds = limitsOf(limits)
  if (typeof bounds === "string") return bounds
  return {
    id,
    bytes: new Uint8Array(Buffer.from(hex, "hex")),
    outcome: known,
    values,
    limits: bounds,
    decode: decode ?? "text"
  }
}

const limitsOf = (json: unknown): Partial<Resp.Limits> | string => {
  const limits: { -readonly [Name in keyof Resp.Limits]?: number } = {}
  if (json === undefined) return limits
  if (!isRecord(json)) return "its limits are no object"
  for (const [name, value] of Object.entries(json)) {
    const limit = limitNames.find((known) => known === name)
    if (limit === undefined || typeof value !== "number") return `its limit ${name} is unknown`
    limits[limit] = value
  }
  return limits
}

/** What is wrong with how the case is decoded; `undefined` when nothing is. */
export const checkCase = (given: Case): string | undefined => {
  for (const [how, chunks] of feedings(given.bytes)) {
    const problem = checkFeeding(given, chunks)
    if (problem !== undefined) return `fed ${how}: ${problem}`
  }
  return undefined
}

/** Whole, byte by byte, and in two at every offset. Chunks are copies, so that reading beyond them is seen. */
function* feedings(bytes: Uint8Array): Generator<readonly [string, ReadonlyArray<Uint8Array>]> {
  yield ["whole", [bytes.slice()]]
  yield ["byte by byte", Array.from(bytes, (byte) => Uint8Array.of(byte))]
  for (let at = 0; at <= Math.min(bytes.length, 4096); at++) {
    yield [`in two at ${at}`, [bytes.slice(0, at), bytes.slice(at)]]
  }
}

const checkFeeding = (given: Case, chunks: ReadonlyArray<Uint8Array>): string | undefined => {
  const before = given.outcome === "incomplete" ? process.memoryUsage() : undefined
  const frames = feed(Resp.makeFrameDecoder(given), chunks)
  const replies = feed(Resp.makeDecoder(given), chunks)
  return (
    checkOutcome(given, frames) ??
    checkMapping(given, frames, replies) ??
    (before === undefined ? undefined : checkMemory(given, before))
  )
}

interface Fed<A> {
  readonly out: ReadonlyArray<Resp.Decoded<A>>
  readonly error: Resp.ProtocolError | undefined
  readonly idle: boolean
  /** After an error: did it accept a sound reply all the same? */
  readonly wentOn: boolean
}

const feed = <A>(decoder: Resp.Decoder<A>, chunks: ReadonlyArray<Uint8Array>): Fed<A> => {
  const out: Array<Resp.Decoded<A>> = []
  for (const chunk of chunks) decoder.push(chunk, out)
  const error = decoder.error
  const before = out.length
  if (error !== undefined) decoder.push(Buffer.from("+OK\r\n"), out)
  return { out: out.slice(0, before), error, idle: decoder.idle, wentOn: out.length > before }
}

const checkOutcome = (given: Case, fed: Fed<Resp.Frame>): string | undefined => {
  if (given.outcome === "fatal") return checkFatal(given, fed)
  if (fed.error !== undefined) return `protocol error: ${fed.error.message}`
  if (given.outcome === "incomplete") return checkIncomplete(given, fed)
  if (!fed.idle) return "it is not at the end of a reply"
  return given.outcome === "limit" ? checkLimit(given, fed) : checkValues(given.values ?? [], fed.out)
}

const checkFatal = (given: Case, fed: Fed<Resp.Frame>): string | undefined => {
  if (fed.error === undefined) return "no protocol error"
  if (fed.wentOn) return "it went on after the protocol error"
  return given.values === undefined ? undefined : checkValues(given.values, fed.out)
}

const checkIncomplete = (given: Case, fed: Fed<Resp.Frame>): string | undefined => {
  if (given.bytes.length > 0 && fed.idle) return "it is at the end of a reply"
  return checkValues(given.values ?? [], fed.out)
}

const checkLimit = (given: Case, fed: Fed<Resp.Frame>): string | undefined => {
  const first = fed.out[0]
  const failure =
    first instanceof Resp.ReplyFailure ? first.error : first instanceof Resp.Push ? first.failure : undefined
  if (!(failure instanceof Resp.ReplyLimitError)) return `no limit error: ${shown(first)}`
  return checkValues(given.values ?? [], fed.out.slice(1))
}

const checkValues = (
  expected: ReadonlyArray<unknown>,
  out: ReadonlyArray<Resp.Decoded<Resp.Frame>>
): string | undefined => {
  const same = expected.length === out.length && expected.every((value, index) => matches(value, out[index]))
  return same ? undefined : `expected ${JSON.stringify(expected)}, got ${shown(out)}`
}

/** The `Reply` decoder ends in the same way, and with what the frames map to. */
const checkMapping = (given: Case, frames: Fed<Resp.Frame>, replies: Fed<Resp.Reply>): string | undefined => {
  const expected = frames.out.map((frame) => decodedReplyOf(frame, given.decode === "bytes"))
  if (!alike(expected, replies.out)) return `Reply: expected ${shown(expected)}, got ${shown(replies.out)}`
  if (shown(frames.error?.message) !== shown(replies.error?.message)) return "Reply: another protocol error"
  if (frames.idle !== replies.idle || replies.wentOn) return "Reply: another state at the end"
  return undefined
}

const mebibyte = 2 ** 20

/** What an unfinished reply holds is in proportion to what came, not to what its header promised. */
const checkMemory = (given: Case, before: NodeJS.MemoryUsage): string | undefined => {
  const after = process.memoryUsage()
  const buffers = after.arrayBuffers - before.arrayBuffers
  const heap = after.heapTotal - before.heapTotal
  const allowed = 16 * given.bytes.length
  if (buffers > allowed + mebibyte) return `it holds ${buffers} bytes of buffers`
  return heap > allowed + 64 * mebibyte ? `it holds ${heap} bytes of heap` : undefined
}

const same = (text: unknown, value: string | Uint8Array): boolean => typeof value === "string" && value === text

const sameBytes = (hex: unknown, value: string | Uint8Array): boolean =>
  typeof hex === "string" && value instanceof Uint8Array && Buffer.from(value).toString("hex") === hex.toLowerCase()

/** Is this the value that the case describes? */
const matches = (expected: unknown, decoded: Resp.Decoded<Resp.Frame> | undefined): boolean => {
  if (!isRecord(expected) || decoded === undefined || decoded instanceof Resp.ReplyFailure) return false
  const [kind, ...more] = Object.keys(expected)
  if (kind === undefined || more.length > 0) return false
  const content = expected[kind]
  if (decoded instanceof Resp.Push)
    return kind === "push" && decoded.failure === undefined && matchAll(content, decoded.data)
  switch (decoded._tag) {
    case "SimpleString":
      return kind === "str" && decoded.value === content
    case "BulkString":
      return kind === "str" ? same(content, decoded.value) : kind === "bytes" && sameBytes(content, decoded.value)
    case "SimpleError":
    case "BlobError":
      return kind === "err" && decoded.value === content
    case "Integer":
      return kind === "int" && String(decoded.value) === content
    case "BigNumber":
      return kind === "big" && String(decoded.value) === content
    case "Double":
      return kind === "dbl" && typeof content === "string" && Object.is(numberOf(content), decoded.value)
    case "Boolean":
      return kind === "bool" && decoded.value === content
    case "Null":
      return kind === "null" && content === true
    case "VerbatimString":
      return kind === "verbatim"
        ? matchesVerbatim(content, decoded)
        : kind === "bytes" && sameBytes(content, decoded.value)
    case "Array":
      return kind === "arr" && matchAll(content, decoded.items)
    case "Set":
      return kind === "set" && matchAll(content, decoded.items)
    case "Map":
      return kind === "map" && matchPairs(content, decoded.pairs)
  }
}

const numberOf = (text: string): number | undefined => {
  if (text === "inf") return Infinity
  if (text === "-inf") return -Infinity
  if (text === "nan") return NaN
  return /^[+-]?\d/.test(text) ? Number(text) : undefined
}

const matchesVerbatim = (content: unknown, frame: Resp.Frame & { readonly _tag: "VerbatimString" }): boolean => {
  if (!Array.isArray(content) || content.length !== 2) return false
  const text = typeof frame.value === "string" ? frame.value : Buffer.from(frame.value).toString("utf8")
  return content[0] === frame.format && content[1] === text
}

const matchAll = (content: unknown, items: ReadonlyArray<Resp.Frame>): boolean =>
  Array.isArray(content) &&
  content.length === items.length &&
  items.every((item, index) => matches(content[index], item))

const matchPairs = (content: unknown, pairs: ReadonlyArray<Resp.FramePair>): boolean =>
  Array.isArray(content) &&
  content.length === pairs.length &&
  pairs.every((pair, index) => matchAll(content[index], pair))

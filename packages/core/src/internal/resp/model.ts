/**
 * The values of the codec: replies, frames, and the failures that travel in their place.
 *
 * All of these are plain data. A server error is an everyday value inside `EXEC` and pipelines, so none of the per-call
 * ones captures a stack; only `ProtocolError`, of which a session has at most one, is an `Error`.
 *
 * `Resp.ts` exports them; this file exists so that the parser can use them without importing its own public face.
 *
 * @internal
 */
import * as Data from "effect/Data"
import { cutArgumentList } from "./redaction.ts"

/**
 * A reply as a program sees it.
 *
 * | wire | value |
 * |---|---|
 * | simple, bulk, verbatim and streamed string | `string` (in bytes mode all but the simple one: `Uint8Array`) |
 * | integer | `number` when it is a safe integer, else `bigint` |
 * | double | `number` (also `Infinity`, `-Infinity`, `NaN`, `-0`) |
 * | big number | `bigint`, always |
 * | boolean | `boolean` |
 * | null, null bulk, null array | `null` |
 * | array | `Array` |
 * | map | `Map`, the last of equal keys wins (in bytes mode an array of pairs) |
 * | set | `Set` (in bytes mode an array) |
 * | error, blob error | `ReplyError` |
 *
 * @category models
 * @since 0.1.0
 */
export type Reply =
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | ReplyError
  | ReplyArray
  | ReplyMap
  | ReplySet

/**
 * An array of replies. (An interface of its own because a type alias cannot refer to itself.)
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplyArray extends ReadonlyArray<Reply> {}

/**
 * A map of replies, in the server's order. Keys that are aggregates compare by identity, as in every `Map`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplyMap extends ReadonlyMap<Reply, Reply> {}

/**
 * A set of replies, in the server's order.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReplySet extends ReadonlySet<Reply> {}

/** The first word of an error, if it is one of the server's codes: upper case, as in `WRONGTYPE` or `NOAUTH`. */
const leadingCode = /^[A-Z][A-Z0-9_]*(?= |$)/

/** Nothing of these was run, and the condition passes by itself. */
const transientCodes: ReadonlySet<string> = new Set([
  "LOADING",
  "BUSY",
  "TRYAGAIN",
  "CLUSTERDOWN",
  "MASTERDOWN",
  "NOREPLICAS",
  // A blocked call was let go: nothing was taken for it.
  "UNBLOCKED"
])

const scripts = /^(EVAL|FCALL)/

/**
 * An error reply of the server: the whole reply of a command, or an element of an aggregate (`EXEC`).
 *
 * - `code`: its first word when that is upper case (`WRONGTYPE`), else `ERR`, the server's generic code.
 * - `message`: the server's text with the code. Where the server repeats arguments (`…, with args beginning with: …`)
 *   it is cut, so that no value gets into a log. Bytes that are not UTF-8 are shown as U+FFFD.
 * - `command`: the name of the command whose reply it is, where that is known.
 * - `delivery: "unknown"`, with the `replies` of the commands: the server refused what should have enclosed them (`MULTI`,
 *   `CLIENT REPLY OFF`), so they ran without it.
 *
 * It is data and has no stack: create as many as you like.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReplyError {
  readonly _tag = "ReplyError"
  readonly code: string
  readonly message: string
  readonly command: string | undefined
  readonly delivery: "unknown" | undefined
  readonly replies: ReadonlyArray<Reply | DecodeError | ReplyLimitError> | undefined

  constructor(options: {
    readonly code: string
    readonly message: string
    readonly command?: string | undefined
    readonly delivery?: "unknown" | undefined
    readonly replies?: ReadonlyArray<Reply | DecodeError | ReplyLimitError> | undefined
  }) {
    this.code = options.code
    this.message = options.message
    this.command = options.command
    this.delivery = options.delivery
    this.replies = options.replies
  }

  /** Reads the text of an error reply, without its type byte. */
  static fromText(text: string): ReplyError {
    return new ReplyError({ code: leadingCode.exec(text)?.[0] ?? "ERR", message: cutArgumentList(text) })
  }

  /**
   * The server did not run the command, and what kept it from doing so passes by itself (`LOADING`, `BUSY`, …). Never of a
   * script or a function: these can return any error themselves, and after their writes.
   */
  get isRetryable(): boolean {
    if (this.delivery !== undefined || (this.command !== undefined && scripts.test(this.command))) return false
    return transientCodes.has(this.code) || this.message.startsWith("ERR max number of clients")
  }

  toString(): string {
    return this.command === undefined ? `ReplyError: ${this.message}` : `ReplyError: ${this.message} (${this.command})`
  }
}

/**
 * The reply was well formed, but a text in it cannot be a JavaScript string: its bytes are not UTF-8, or it is longer than
 * the longest string of the engine (536 870 888 units). It fails its own call and no other. `decode: "bytes"` reads such
 * replies (but not a *simple* string that is not UTF-8, which is text in both modes).
 *
 * @category errors
 * @since 0.1.0
 */
export class DecodeError {
  readonly _tag = "DecodeError"
  readonly reason: "utf8" | "length" | "schema" | "shape" | "integer"
  readonly message: string

  constructor(reason: DecodeError["reason"], message: string) {
    this.reason = reason
    this.message = message
  }

  /** The command has run. */
  get isRetryable(): boolean {
    return false
  }

  toString(): string {
    return `DecodeError: ${this.message}`
  }
}

/**
 * The reply was well formed but over one of the decoder's `Limits`. It was skipped to its end and fails its own call and no
 * other. `limit` names the option that allows more, `max` what it was. A `limit` of `"Map"` or `"Set"`: it has more entries than
 * the engine's `Map` or `Set` can hold (2^24); with `decode: "bytes"` it is an array.
 *
 * @category errors
 * @since 0.1.0
 */
export class ReplyLimitError {
  readonly _tag = "ReplyLimitError"
  readonly limit: keyof Limits | "Map" | "Set"
  readonly max: number

  constructor(limit: keyof Limits | "Map" | "Set", max: number) {
    this.limit = limit
    this.max = max
  }

  get message(): string {
    if (this.limit === "Map" || this.limit === "Set") {
      return `The reply has more entries than a ${this.limit} can hold (${this.max}): use decode: "bytes", which gives an array, or ask for less at a time`
    }
    return `The reply is over the limit ${this.limit} (${this.max}): raise that limit, or ask for less at a time`
  }

  /** The command has run. */
  get isRetryable(): boolean {
    return false
  }

  toString(): string {
    return `ReplyLimitError: ${this.message}`
  }
}

/**
 * The bytes are not RESP, or more than any RESP peer may send: the stream cannot be read any further and the connection
 * must be closed (a decoder never resynchronises).
 *
 * - `expected`: what could have come here; `found`: the one byte that came instead, or what was too much.
 * - `offset`: of that byte in the stream, counted from 0.
 * - `truncated`: the stream ended inside a reply; no byte was wrong.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProtocolError extends Data.TaggedError("ProtocolError")<{
  readonly expected: string
  readonly found: string
  readonly offset: number
  readonly truncated: boolean
  readonly hint: string | undefined
}> {
  override get message(): string {
    const hint = this.hint === undefined ? "" : `. ${this.hint}`
    return `Expected ${this.expected} but found ${this.found} at byte ${this.offset}${hint}`
  }
}

/**
 * An out-of-band message of the server (`>`). It is no call's reply: a matcher of replies with calls passes it by.
 *
 * `data` are its elements; the first names its kind. When the push was over a limit, `data` is empty and `failure` says
 * why. A bulk that is not UTF-8 does not fail a push, as no call asked for text: it is left as its bytes.
 *
 * @category models
 * @since 0.1.0
 */
export class Push<out A> {
  readonly data: ReadonlyArray<A>
  readonly failure: DecodeError | ReplyLimitError | undefined

  constructor(data: ReadonlyArray<A>, failure: DecodeError | ReplyLimitError | undefined) {
    this.data = data
    this.failure = failure
  }
}

/**
 * Takes the slot of a reply that came and could not be delivered; `error` says why. Only this reply's call fails.
 *
 * @category models
 * @since 0.1.0
 */
export class ReplyFailure {
  readonly error: DecodeError | ReplyLimitError

  constructor(error: DecodeError | ReplyLimitError) {
    this.error = error
  }
}

/**
 * The bounds of a decoder. A well-formed reply over one of them is skipped and fails only its own call.
 *
 * - `maxDepth`: how deep aggregates may be nested; an aggregate of scalars has depth 1. Default 128.
 * - `maxElements`: elements of one aggregate; a pair of a map or attribute counts two. Default 2^26.
 * - `maxBulkBytes`: bytes of one bulk, verbatim or streamed string, or blob error. Default 512 MiB, the server's own.
 * - `maxReplyBytes`: bytes of one reply as a whole, from its first byte to its last, with the attributes before it. Default 1 GiB.
 * - `maxBigNumberDigits`: digits of one big number. Default 4096 (to parse them takes time that grows with the square).
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  readonly maxDepth: number
  readonly maxElements: number
  readonly maxBulkBytes: number
  readonly maxReplyBytes: number
  readonly maxBigNumberDigits: number
}

/**
 * The limits in force where none are given.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultLimits: Limits = {
  maxDepth: 128,
  maxElements: 2 ** 26,
  maxBulkBytes: 512 * 1024 * 1024,
  maxReplyBytes: 1024 * 1024 * 1024,
  maxBigNumberDigits: 4096
}

/**
 * A reply with every distinction of the wire kept: for tools, proxies and conformance tests. Programs want `Reply`.
 *
 * In bytes mode the strings of `BulkString` and `VerbatimString` are `Uint8Array`. `attributes` are those that preceded
 * the value. Errors keep the server's whole text, arguments that it repeats included: do not log them.
 *
 * @category models
 * @since 0.1.0
 */
export type Frame = FrameBody & {
  readonly attributes?: ReadonlyArray<FramePair> | undefined
}

/**
 * A key and its value, of a map or an attribute.
 *
 * @category models
 * @since 0.1.0
 */
export type FramePair = readonly [key: Frame, value: Frame]

/**
 * The kinds of frames. `streamed` says that the length was not known in advance (`$?`, `*?`, `%?`, `~?`); the form of a
 * `Null` is its wire type.
 *
 * @category models
 * @since 0.1.0
 */
export type FrameBody =
  | { readonly _tag: "SimpleString"; readonly value: string }
  | { readonly _tag: "SimpleError"; readonly value: string }
  | { readonly _tag: "Integer"; readonly value: number | bigint }
  | { readonly _tag: "BulkString"; readonly value: string | Uint8Array; readonly streamed: boolean }
  | { readonly _tag: "Null"; readonly form: "null" | "bulk" | "array" }
  | { readonly _tag: "Double"; readonly value: number }
  | { readonly _tag: "Boolean"; readonly value: boolean }
  | { readonly _tag: "BlobError"; readonly value: string }
  | { readonly _tag: "VerbatimString"; readonly format: string; readonly value: string | Uint8Array }
  | { readonly _tag: "BigNumber"; readonly value: bigint }
  | { readonly _tag: "Array"; readonly items: ReadonlyArray<Frame>; readonly streamed: boolean }
  | { readonly _tag: "Map"; readonly pairs: ReadonlyArray<FramePair>; readonly streamed: boolean }
  | { readonly _tag: "Set"; readonly items: ReadonlyArray<Frame>; readonly streamed: boolean }

/**
 * The RESP2 and RESP3 parser: synchronous, resumable at every byte, iterative.
 *
 * `push(chunk, out)` reads a chunk and appends what it completed to `out`. There are two ways through it:
 *
 * - `values`, the hot loop, takes whole values that lie in the chunk: bulks, integers, `+OK`, headers of aggregates.
 * - Everything else (other types, a value cut by the end of the chunk, a wrong byte, a value to be skipped) goes through
 *   small states, one method each: `readLine`, `readLineFeed`, `readBody`, `readBodyEnd`, `readStreamChunk`. These keep
 *   what has come, so no byte is looked at twice, however small the chunks are.
 *
 * Open aggregates are `Level`s on a stack that is reused. A reply that fails (over a limit, or not text) moves from the
 * stack to `Skip`, and its failure is delivered when it has been passed.
 *
 * Grammar: the RESP3 specification and the Redis serialization protocol page; what it leaves open is decided strictly,
 * except for what servers really send (`-nan`, a leading `+`). After a wrong byte the parser is dead: it never looks for
 * a place to go on.
 *
 * Every field is set in the constructor, with values of one kind: the hot loop runs three times slower otherwise.
 */
import { isUtf8 } from "node:buffer"
import type { Attributes, Builder, Container } from "./respBuilder.ts"
import { Dictionary, List, Nothing, Pairs, Unique } from "./respBuilder.ts"
import { Gather } from "./respGather.ts"
import { doubleFit, fits, integerFit, lengthFit, toDouble, toInteger, wordFit } from "./respLine.ts"
import { DecodeError, type Limits, ProtocolError, Push, ReplyFailure, ReplyLimitError } from "./respModel.ts"
import { Skip } from "./respSkip.ts"
import { exactText, latin1Text, lossyText, TextWindow } from "./respText.ts"

const CR = 0x0d
const LF = 0x0a
const ZERO = 0x30
const NINE = 0x39
const MINUS = 0x2d
const PLUS = 0x2b
const COLON = 0x3a

const SimpleString = PLUS
const SimpleError = MINUS
const Integer = COLON
const Bulk = 0x24
const ArrayType = 0x2a
const Null = 0x5f
const Double = 0x2c
const BooleanType = 0x23
const BlobError = 0x21
const Verbatim = 0x3d
const BigNumber = 0x28
const MapType = 0x25
const SetType = 0x7e
const Attribute = 0x7c
const PushType = 0x3e
const StreamChunk = 0x3b
const StreamEnd = 0x2e

/** What comes next. */
const AtValue = 0
const InLine = 1
const AtLineFeed = 2
const InBody = 3
const AtBodyCR = 4
const AtBodyLF = 5
const AtStreamChunk = 6

/** The longest content of a line, in bytes, by what it holds. */
const maxNumberLine = 64
const maxDoubleLine = 326
const maxTextLine = 64 * 1024

const maxCount = 2 ** 32 - 1

/** A bulk in bytes mode that fills at least half of its chunk may stay in it; others are copied out. */
const keepsChunk = (size: number, chunk: Uint8Array): boolean => size * 2 >= chunk.buffer.byteLength

const empty = new Uint8Array(0)

/** An open aggregate. Levels are reused; `release` drops what they hold. */
class Level<V> {
  kind = ArrayType
  container: Container = List
  /** Elements still to come. Below zero: streamed, and `-1 - left` have come. */
  left = 0
  items: Array<V> = []
  pairs: Array<[V, V]> = []
  entries: Map<V, V> = new Map()
  members: Set<V> = new Set()
  key: V
  hasKey = false
  /** Attributes of the aggregate itself. */
  attributes: Attributes<V> | null = null
  /** Is the content skipped from here on? */
  mutes = false

  constructor(absent: V) {
    this.key = absent
  }

  open(kind: number, container: Container, left: number, attributes: Attributes<V> | null): void {
    this.kind = kind
    this.container = container
    this.left = left
    this.hasKey = false
    this.attributes = attributes
    this.mutes = false
    if (container === List) this.items = []
    else if (container === Pairs) this.pairs = []
    else if (container === Dictionary) this.entries = new Map()
    else if (container === Unique) this.members = new Set()
  }

  add(value: V): void {
    if (this.container === List) this.items.push(value)
    else if (this.container === Unique) this.members.add(value)
    else if (this.container !== Nothing) this.addHalf(value)
  }

  private addHalf(value: V): void {
    if (!this.hasKey) {
      this.key = value
      this.hasKey = true
      return
    }
    this.hasKey = false
    if (this.container === Dictionary) this.entries.set(this.key, value)
    else this.pairs.push([this.key, value])
  }

  /** Drops what the aggregate held, as the level itself is kept. */
  release(absent: V): void {
    if (this.container === List) this.items = []
    else if (this.container === Pairs) this.pairs = []
    else if (this.container === Dictionary) this.entries = new Map()
    else if (this.container === Unique) this.members = new Set()
    this.key = absent
    this.attributes = null
  }
}

/** What a parser is told about its stream. */
export interface ParserOptions {
  readonly limits: Limits
  /** Are strings `Uint8Array`? */
  readonly bytes: boolean
  /** Is the memory of a chunk used again after `push`? Then nothing of it is kept. */
  readonly volatile: boolean
}

/** One element of what a parser puts out. */
export type Parsed<V> = V | Push<V> | ReplyFailure

/** See the head of this file. */
export class Parser<V> {
  /** Asked with the number of a reply (from 0) at its first byte: is it to be decoded as bytes? Null: as the options say. */
  nextBytes: ((reply: number) => boolean) | null = null
  /** Are pushes decoded as bytes? */
  pushBytes: boolean
  /** Why the parser is dead. */
  error: ProtocolError | undefined = undefined

  private readonly builder: Builder<V>
  private readonly limits: Limits
  private readonly defaultBytes: boolean
  private readonly volatile: boolean

  private out: Array<Parsed<V>> = []
  private chunk: Uint8Array = empty
  private pos = 0
  private end = 0
  /** Place of the chunk's first byte in the stream. */
  private offset = 0
  private readonly window = new TextWindow()

  private state = AtValue
  /** Replies that were delivered. */
  private replies = 0
  /** Is the current reply decoded as bytes? */
  private bytes: boolean
  /** Is the current value skipped? True while skipping, and inside attributes that are not kept. */
  private muted = false
  private skipping = false
  private readonly skip = new Skip()
  private failure: DecodeError | ReplyLimitError | undefined = undefined
  /** Is what fails a push? */
  private failsPush = false

  private readonly levels: Array<Level<V>>
  private top: Level<V>
  private depth = 0
  /** Attributes that wait for the next value. */
  private attributes: Attributes<V> | null = null

  /** The type of the line or body that is being read. */
  private kind = 0
  /** What has come of a line that was cut. */
  private line: Uint8Array = new Uint8Array(128)
  private lineLength = 0
  /** Place of the line's content in the stream. */
  private lineOffset = 0
  /** Digits of the big number so far, and whether it has a sign. */
  private digits = 0
  private signed = false

  private bodyLength = 0
  private bodyLeft = 0
  /** Bytes of the streamed string so far. */
  private streamed = 0
  private readonly gather = new Gather()

  constructor(builder: Builder<V>, options: ParserOptions) {
    this.builder = builder
    this.limits = options.limits
    this.defaultBytes = options.bytes
    this.bytes = options.bytes
    this.pushBytes = options.bytes
    this.volatile = options.volatile
    this.top = new Level(builder.absent)
    this.levels = [this.top]
  }

  /** Is the parser between replies, with nothing begun? */
  get idle(): boolean {
    return this.state === AtValue && this.depth === 0 && !this.skipping && this.attributes === null
  }

  /** Bytes read so far: the place in the stream. */
  get position(): number {
    return this.offset
  }

  /** Reads a chunk, appends what it completed to `out`, and gives the error if the stream is (or was) wrong. */
  push(chunk: Uint8Array, out: Array<Parsed<V>>): ProtocolError | undefined {
    if (this.error !== undefined) return this.error
    this.chunk = chunk
    this.pos = 0
    this.end = chunk.length
    this.out = out
    try {
      this.run()
    } catch (cause) {
      this.die(cause)
    }
    this.offset += this.end
    this.chunk = empty
    this.window.close()
    return this.error
  }

  private die(cause: unknown): void {
    this.error =
      cause instanceof ProtocolError
        ? cause
        : new ProtocolError({
            expected: "to be able to go on",
            found: "a failure of this process",
            offset: this.offset + this.pos,
            truncated: false,
            hint: undefined
          })
    this.gather.clear()
    this.dropLevels()
    if (!(cause instanceof ProtocolError)) throw cause
  }

  private run(): void {
    while (this.pos < this.end) {
      if (this.state === AtValue) this.values()
      else if (this.state === InLine) this.readLine()
      else if (this.state === InBody) this.readBody()
      else if (this.state === AtLineFeed) this.readLineFeed()
      else if (this.state === AtStreamChunk) this.readStreamChunk()
      else this.readBodyEnd()
    }
  }

  // ---------------------------------------------------------------------------------------------------------------
  // The hot loop
  // ---------------------------------------------------------------------------------------------------------------

  /** Takes whole values out of the chunk, until it ends or a value needs one of the states. */
  private values(): void {
    const chunk = this.chunk
    const end = this.end
    const maxBulk = this.limits.maxBulkBytes
    while (this.pos < end) {
      const start = this.pos
      const type = chunk[start]
      if (!this.muted) {
        if (type === Bulk) {
          let at = start + 1
          let length = 0
          let digit = 0
          while (at < end && (digit = chunk[at] - ZERO) >= 0 && digit <= 9) {
            length = length * 10 + digit
            at++
          }
          const from = at + 2
          const to = from + length
          if (
            to + 1 < end &&
            at > start + 1 &&
            at < start + 16 &&
            length <= maxBulk &&
            chunk[at] === CR &&
            chunk[at + 1] === LF &&
            chunk[to] === CR &&
            chunk[to + 1] === LF
          ) {
            if (this.depth === 0) this.beginReply()
            this.pos = to + 2
            this.deliverBulk(from, to)
            if (this.state !== AtValue) return
            continue
          }
        } else if (type === Integer) {
          let at = start + 1
          const negative = chunk[at] === MINUS
          if (negative) at++
          const first = at
          let value = 0
          let digit = 0
          while (at < end && (digit = chunk[at] - ZERO) >= 0 && digit <= 9) {
            value = value * 10 + digit
            at++
          }
          if (at + 1 < end && at > first && at < first + 16 && chunk[at] === CR && chunk[at + 1] === LF) {
            this.pos = at + 2
            this.deliver(this.builder.integer(negative ? 0 - value : value))
            continue
          }
        } else if (type === SimpleString) {
          // +OK
          if (
            start + 4 < end &&
            chunk[start + 1] === 0x4f &&
            chunk[start + 2] === 0x4b &&
            chunk[start + 3] === CR &&
            chunk[start + 4] === LF
          ) {
            this.pos = start + 5
            this.deliver(this.builder.simple("OK"))
            continue
          }
        }
      }
      this.beginValue(type)
      if (this.state !== AtValue) return
    }
  }

  /** Delivers the bulk at `from` to `to` of the chunk. */
  private deliverBulk(from: number, to: number): void {
    const value = this.bytes ? this.ownBytes(this.chunk, from, to) : this.window.read(this.chunk, from, to, this.end)
    if (value !== undefined) return this.deliver(this.builder.bulk(value, false))
    if (this.inPush) return this.deliver(this.builder.bulk(this.ownBytes(this.chunk, from, to), false))
    this.failText(notText(this.chunk, from, to))
  }

  /** The first byte of a reply that is no push. */
  private beginReply(): void {
    this.bytes = this.nextBytes === null ? this.defaultBytes : this.nextBytes(this.replies)
  }

  // ---------------------------------------------------------------------------------------------------------------
  // The states
  // ---------------------------------------------------------------------------------------------------------------

  /** The type byte of a value that the hot loop does not take. */
  private beginValue(type: number): void {
    if (this.skipping && type !== StreamEnd) this.skip.begin()
    this.checkType(type)
    if (this.depth === 0 && !this.skipping && type !== Attribute) {
      if (type === PushType) this.bytes = this.pushBytes
      else this.beginReply()
    }
    this.beginLine(type)
    if (this.pos < this.end) this.readLine()
  }

  private beginLine(type: number): void {
    this.pos++
    this.kind = type
    this.lineLength = 0
    this.lineOffset = this.offset + this.pos
    this.digits = 0
    this.signed = false
    this.state = InLine
  }

  /** Fails unless a value of this type may begin here. */
  private checkType(type: number): void {
    switch (type) {
      case SimpleString:
      case SimpleError:
      case Integer:
      case Bulk:
      case ArrayType:
      case Null:
      case Double:
      case BooleanType:
      case BlobError:
      case Verbatim:
      case BigNumber:
      case MapType:
      case SetType:
      case Attribute:
        return
      case PushType:
        if (this.skipping ? this.skip.atTop : this.depth === 0) return
        return this.wrong("an element of an aggregate (a push stands between replies)", this.here)
      case StreamEnd:
        if (this.mayEndStream()) return
        return this.wrong("a value", this.here)
      case StreamChunk:
        return this.wrong("a value (no streamed string is open)", this.here)
      default:
        return this.wrong("the type byte of a RESP value", this.here)
    }
  }

  /** Where the byte at `pos` is in the stream. */
  private get here(): number {
    return this.offset + this.pos
  }

  /** Reads on in the line whose type is `kind`, to its CR LF or the end of the chunk. */
  private readLine(): void {
    const chunk = this.chunk
    const from = this.pos
    let at = from
    while (at < this.end) {
      const byte = chunk[at]
      if (byte === CR || byte === LF) break
      at++
    }
    if (this.kind === BigNumber) this.checkBigNumber(from, at)
    else this.checkLineLength(at - from)
    if (at + 1 < this.end && chunk[at] === CR && chunk[at + 1] === LF && this.lineLength === 0) {
      this.pos = at + 2
      this.state = AtValue
      this.endLine(chunk, from, at)
      return
    }
    this.cutLine(from, at)
  }

  /** The line cannot be taken from the chunk at once: keeps what has come, and checks it. */
  private cutLine(from: number, at: number): void {
    this.keepLine(from, at)
    this.pos = at
    if (at === this.end) return this.checkLine(false)
    if (this.chunk[at] === LF) return this.wrong("CR LF at the end of the line", this.here)
    this.checkLine(true)
    this.pos = at + 1
    this.state = AtLineFeed
  }

  /** The line feed after a carriage return that was the last byte of its chunk. */
  private readLineFeed(): void {
    if (this.chunk[this.pos] !== LF) return this.wrong("LF after CR", this.here)
    this.pos++
    this.state = AtValue
    const length = this.lineLength
    this.lineLength = 0
    this.endLine(this.line, 0, length)
    if (this.line.length > 4096) this.line = new Uint8Array(128)
  }

  private keepLine(from: number, to: number): void {
    if (this.muted && this.kind === BigNumber) return
    const length = this.lineLength + to - from
    if (length > this.line.length) {
      const larger = new Uint8Array(Math.max(length, this.line.length * 2))
      larger.set(this.line.subarray(0, this.lineLength))
      this.line = larger
    }
    this.line.set(this.chunk.subarray(from, to), this.lineLength)
    this.lineLength = length
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Lines
  // ---------------------------------------------------------------------------------------------------------------

  private checkLineLength(more: number): void {
    const max = maxLine(this.kind)
    if (this.lineLength + more <= max) return
    throw this.protocolError("CR LF at the end of the line", `a line of more than ${max} bytes`, this.lineOffset + max)
  }

  /** Big numbers may be long, so they are checked and counted piece by piece. */
  private checkBigNumber(from: number, to: number): void {
    for (let at = from; at < to; at++) {
      const byte = this.chunk[at]
      if (byte >= ZERO && byte <= NINE) this.digits++
      else if ((byte === MINUS || byte === PLUS) && this.digits === 0 && !this.signed) this.signed = true
      else this.wrong(this.digits === 0 ? "a big number" : "CR LF", this.offset + at)
    }
    const max = this.limits.maxBigNumberDigits
    if (this.digits > max && !this.skipping) this.fail(new ReplyLimitError("maxBigNumberDigits", max))
  }

  /** Checks what has come of a line that was cut. */
  private checkLine(complete: boolean): void {
    if (this.kind === SimpleString || this.kind === SimpleError) return
    if (this.kind !== BigNumber) return this.checkText(latin1Text(this.line, 0, this.lineLength), complete)
    if (complete && this.digits === 0) this.wrong("a big number", this.here)
  }

  /** Fails at the first byte of a line that is outside the grammar of its kind. */
  private checkText(text: string, complete: boolean): void {
    const fit = fitOf(this.kind, text)
    if (fit === fits || (fit === text.length && !complete)) return
    const expected = fitOf(this.kind, text.slice(0, fit)) === fits ? "CR LF" : nameOf(this.kind)
    throw this.protocolError(expected, describe(fit === text.length ? CR : text.charCodeAt(fit)), this.lineOffset + fit)
  }

  /** A whole line: a value, or the head of one. */
  private endLine(buffer: Uint8Array, from: number, to: number): void {
    switch (this.kind) {
      case SimpleString:
        return this.endSimple(buffer, from, to)
      case SimpleError:
        return this.emit(this.muted ? this.builder.absent : this.builder.error(lossyText(buffer, from, to), false))
      case BigNumber:
        if (this.digits === 0) this.wrong("a big number", this.lineOffset + to - from)
        return this.emit(this.muted ? this.builder.absent : this.builder.big(BigInt(latin1Text(buffer, from, to))))
      default: {
        const text = latin1Text(buffer, from, to)
        this.checkText(text, true)
        return this.endShortLine(text)
      }
    }
  }

  private endSimple(buffer: Uint8Array, from: number, to: number): void {
    if (this.muted) return this.emit(this.builder.absent)
    const text = exactText(buffer, from, to)
    if (text === undefined) return this.failText(new DecodeError("utf8", simpleNotText))
    this.deliver(this.builder.simple(text))
  }

  private endShortLine(text: string): void {
    switch (this.kind) {
      case Integer:
        return this.endInteger(text)
      case Null:
        return this.emit(this.builder.null("null"))
      case BooleanType:
        return this.emit(this.builder.boolean(text === "t"))
      case Double:
        return this.emit(this.builder.double(toDouble(text)))
      case StreamEnd:
        return this.endStream()
      case Bulk:
        if (text === "-1") return this.emit(this.builder.null("bulk"))
        return text === "?" ? this.beginStreamedString() : this.beginBody(Number(text))
      case BlobError:
      case Verbatim:
        return this.beginBody(Number(text))
      case StreamChunk:
        return this.beginChunk(Number(text))
      case ArrayType:
        if (text === "-1") return this.emit(this.builder.null("array"))
        return text === "?" ? this.openStream() : this.open(Number(text))
      default:
        return text === "?" ? this.openStream() : this.open(Number(text))
    }
  }

  private endInteger(text: string): void {
    const value = toInteger(text)
    if (value === undefined) throw this.protocolError("an integer of 64 bits", "a longer one", this.lineOffset)
    this.emit(this.builder.integer(value))
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Bodies
  // ---------------------------------------------------------------------------------------------------------------

  private beginBody(length: number): void {
    if (length > Number.MAX_SAFE_INTEGER) throw this.protocolError("a length below 2^53", "more", this.lineOffset)
    if (this.kind === Verbatim && length < 4) {
      throw this.protocolError("a verbatim string of 4 bytes or more", "less", this.lineOffset)
    }
    this.checkBulkLimit(length)
    this.bodyLength = length
    this.bodyLeft = length
    this.state = length === 0 ? AtBodyCR : InBody
  }

  private beginStreamedString(): void {
    this.streamed = 0
    this.state = AtStreamChunk
  }

  private beginChunk(length: number): void {
    if (length === 0) return this.endStreamedString()
    this.streamed += length
    this.beginBody(length)
    this.checkBulkLimit(this.streamed)
  }

  private checkBulkLimit(length: number): void {
    const max = this.limits.maxBulkBytes
    if (length > max && !this.skipping) this.fail(new ReplyLimitError("maxBulkBytes", max))
  }

  private readStreamChunk(): void {
    if (this.chunk[this.pos] !== StreamChunk) this.wrong("a chunk (;) of the streamed string", this.here)
    this.beginLine(StreamChunk)
  }

  private readBody(): void {
    const chunk = this.chunk
    const from = this.pos
    const size = Math.min(this.bodyLeft, this.end - from)
    const to = from + size
    if (this.kind === Verbatim) this.checkVerbatim(from, size)
    if (!this.muted) {
      const whole = size === this.bodyLength && this.kind !== StreamChunk
      if (whole && to + 1 < this.end && chunk[to] === CR && chunk[to + 1] === LF) {
        this.pos = to + 2
        this.state = AtValue
        return this.endBody(chunk, from, to, false)
      }
      this.gather.add(chunk, from, to, this.kind === StreamChunk ? -1 : this.bodyLength, !this.volatile)
    }
    this.pos = to
    this.bodyLeft -= size
    if (this.bodyLeft === 0) this.state = AtBodyCR
  }

  /** The fourth byte of a verbatim string is a colon. */
  private checkVerbatim(from: number, size: number): void {
    const at = from + 3 - (this.bodyLength - this.bodyLeft)
    if (at < from || at >= from + size || this.chunk[at] === COLON) return
    this.wrong('":" after the format of a verbatim string', this.offset + at)
  }

  private readBodyEnd(): void {
    const byte = this.chunk[this.pos]
    if (byte !== (this.state === AtBodyCR ? CR : LF)) this.wrong("CR LF after the string", this.here)
    this.pos++
    if (this.state === AtBodyCR) {
      this.state = AtBodyLF
      return
    }
    this.state = this.kind === StreamChunk ? AtStreamChunk : AtValue
    if (this.kind === StreamChunk) return
    if (this.muted) return this.emit(this.builder.absent)
    const value = this.gather.finish()
    this.endBody(value, 0, value.length, true)
  }

  /** The whole body lies in `buffer`, which is `own` if nobody else has it. */
  private endBody(buffer: Uint8Array, from: number, to: number, own: boolean): void {
    if (this.kind === BlobError) return this.deliver(this.builder.error(lossyText(buffer, from, to), true))
    if (this.kind === Bulk) return this.endString(buffer, from, to, own, undefined, false)
    this.endString(buffer, from + 4, to, own, latin1Text(buffer, from, from + 3), false)
  }

  private endStreamedString(): void {
    if (this.muted) return this.emit(this.builder.absent)
    const value = this.gather.finish()
    this.endString(value, 0, value.length, true, undefined, true)
  }

  /** A string of the kinds that may be bytes: verbatim if it has a format. */
  private endString(
    buffer: Uint8Array,
    from: number,
    to: number,
    own: boolean,
    format: string | undefined,
    streamed: boolean
  ): void {
    const text = this.bytes ? undefined : exactText(buffer, from, to)
    if (text === undefined && !this.bytes && !this.inPush) return this.failText(notText(buffer, from, to))
    const value = text ?? (own ? buffer.subarray(from, to) : this.ownBytes(buffer, from, to))
    this.deliver(format === undefined ? this.builder.bulk(value, streamed) : this.builder.verbatim(format, value))
  }

  private get inPush(): boolean {
    return this.depth > 0 && this.levels[0].kind === PushType
  }

  /** Bytes of a chunk, in memory of their own unless they are most of the chunk anyway. */
  private ownBytes(chunk: Uint8Array, from: number, to: number): Uint8Array {
    const size = to - from
    if (!this.volatile && keepsChunk(size, chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset + from, size)
    const own = new Uint8Array(size)
    own.set(chunk.subarray(from, to))
    return own
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Aggregates
  // ---------------------------------------------------------------------------------------------------------------

  /** The head of an aggregate of known length. */
  private open(count: number): void {
    const kind = this.kind
    const elements = kind === MapType || kind === Attribute ? count * 2 : count
    if (elements > maxCount) throw this.protocolError("at most 2^32 - 1 elements", "more", this.lineOffset)
    if (!this.skipping && elements > this.limits.maxElements) {
      this.fail(new ReplyLimitError("maxElements", this.limits.maxElements))
    }
    this.checkDepth()
    if (!this.skipping) return this.openLevel(kind, elements)
    if (kind === PushType) this.failsPush = true
    const counted = kind === Attribute ? this.skip.openAttribute(elements) : this.skip.open(elements)
    this.passed(counted)
  }

  /** The head of a streamed aggregate. */
  private openStream(): void {
    this.checkDepth()
    if (!this.skipping) return this.openLevel(this.kind, -1)
    this.passed(this.skip.openStream(this.kind === MapType))
  }

  private checkDepth(): void {
    const max = this.limits.maxDepth
    if (!this.skipping && this.depth >= max) this.fail(new ReplyLimitError("maxDepth", max))
  }

  private openLevel(kind: number, left: number): void {
    const mutes = kind === Attribute && !this.muted && !this.builder.keepsAttributes
    if (mutes) this.muted = true
    if (this.depth === this.levels.length) this.levels.push(new Level(this.builder.absent))
    const level = this.levels[this.depth]
    level.open(kind, this.containerOf(kind), left, this.attributes)
    level.mutes = mutes
    this.attributes = null
    this.depth++
    this.top = level
    if (left === 0) this.closeLevel()
  }

  private containerOf(kind: number): Container {
    if (this.muted) return Nothing
    if (kind === MapType) return this.builder.mapContainer(this.bytes)
    if (kind === SetType) return this.builder.setContainer(this.bytes)
    return kind === Attribute ? Pairs : List
  }

  private mayEndStream(): boolean {
    if (this.skipping) return this.skip.mayCloseStream
    if (this.depth === 0 || this.top.left >= 0 || this.attributes !== null) return false
    return this.top.kind !== MapType || (-1 - this.top.left) % 2 === 0
  }

  private endStream(): void {
    if (!this.skipping) return this.closeLevel()
    this.skip.closeStream()
    this.passed(true)
  }

  /** The innermost aggregate is complete, and with it perhaps those around it. */
  private closeLevel(): void {
    while (true) {
      const level = this.top
      const value = this.finish(level)
      this.depth--
      this.top = this.levels[this.depth === 0 ? 0 : this.depth - 1]
      if (level.kind === Attribute) return this.keepAttributes(level)
      if (this.depth === 0) return this.complete(level, value)
      level.release(this.builder.absent)
      this.top.add(value)
      this.top.left--
      if (this.top.left < 0) return this.checkStream()
      if (this.top.left > 0) return
    }
  }

  /** The value of a complete aggregate. */
  private finish(level: Level<V>): V {
    if (level.container === Nothing || level.kind === Attribute) return this.builder.absent
    const value = this.contentOf(level, level.left < 0)
    return level.attributes === null ? value : this.builder.attach(value, level.attributes)
  }

  private contentOf(level: Level<V>, streamed: boolean): V {
    switch (level.container) {
      case Pairs:
        return this.builder.mapOfPairs(level.pairs, streamed)
      case Dictionary:
        return this.builder.map(level.entries, streamed)
      case Unique:
        return this.builder.set(level.members, streamed)
      default:
        return level.kind === SetType
          ? this.builder.setOfItems(level.items, streamed)
          : this.builder.array(level.items, streamed)
    }
  }

  /** A complete attribute waits for the next value; several in a row describe the same one. */
  private keepAttributes(level: Level<V>): void {
    const before = level.attributes ?? []
    this.attributes = level.container === Nothing ? before : [...before, ...level.pairs]
    if (level.mutes) this.muted = false
    level.release(this.builder.absent)
  }

  /** A complete aggregate that stands in no other. */
  private complete(level: Level<V>, value: V): void {
    const parsed = level.kind === PushType ? new Push(level.items, undefined) : value
    if (level.kind !== PushType) this.replies++
    level.release(this.builder.absent)
    this.out.push(parsed)
  }

  /** A streamed aggregate got an element: is it too long now? */
  private checkStream(): void {
    const max = this.limits.maxElements
    if (-1 - this.top.left > max) this.fail(new ReplyLimitError("maxElements", max), true)
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Values
  // ---------------------------------------------------------------------------------------------------------------

  /** A value without elements, built or skipped. */
  private emit(value: V): void {
    if (!this.skipping) return this.deliver(value)
    this.skip.leaf()
    this.passed(true)
  }

  /** A value without elements goes to where it belongs. */
  private deliver(built: V): void {
    const value = this.attributes === null ? built : this.describe(built)
    if (this.depth === 0) {
      this.replies++
      this.out.push(value)
      return
    }
    const level = this.top
    level.add(value)
    level.left--
    if (level.left > 0) return
    if (level.left < 0) this.checkStream()
    else this.closeLevel()
  }

  /** The value with the attributes that preceded it. */
  private describe(value: V): V {
    const attributes = this.attributes ?? []
    this.attributes = null
    return this.muted ? value : this.builder.attach(value, attributes)
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Failures
  // ---------------------------------------------------------------------------------------------------------------

  /** The reply fails because of the text that just ended. */
  private failText(error: DecodeError): void {
    this.fail(error)
    this.skip.leaf()
    this.passed(true)
  }

  /**
   * The reply fails: what there is of it is dropped, and the rest is skipped. This happens while a value is read, except
   * when a streamed aggregate was too long with the last one (`between`).
   */
  private fail(error: DecodeError | ReplyLimitError, between = false): void {
    this.failure = error
    this.failsPush = this.inPush
    this.skip.start()
    for (let index = 0; index < this.depth; index++) this.skipLevel(this.levels[index])
    if (!between) this.skip.begin()
    this.skipping = true
    this.muted = true
    this.gather.clear()
    this.dropLevels()
  }

  private skipLevel(level: Level<V>): void {
    this.skip.begin()
    if (level.kind === Attribute) this.skip.openAttribute(level.left)
    else if (level.left >= 0) this.skip.open(level.left)
    else this.skip.openStream(level.kind === MapType, (-1 - level.left) % 2 === 1)
  }

  private dropLevels(): void {
    for (let index = 0; index < this.depth; index++) this.levels[index].release(this.builder.absent)
    this.depth = 0
    this.attributes = null
  }

  /** A part of a failed reply was passed. If that was the last one, the failure takes the reply's place. */
  private passed(counted: boolean): void {
    if (!counted) throw this.protocolError("a reply that can be skipped", "one nested too deep", this.lineOffset)
    if (!this.skip.done || this.failure === undefined) return
    if (!this.failsPush) this.replies++
    this.out.push(this.failsPush ? new Push<V>([], this.failure) : new ReplyFailure(this.failure))
    this.failure = undefined
    this.skipping = false
    this.muted = false
  }

  /** The byte at this place of the stream, which is in the chunk, is outside the grammar. */
  private wrong(expected: string, offset: number): never {
    throw this.protocolError(expected, describe(this.chunk[offset - this.offset]), offset)
  }

  private protocolError(expected: string, found: string, offset: number): ProtocolError {
    return new ProtocolError({
      expected,
      found,
      offset,
      truncated: false,
      hint: offset === 0 ? foreignPeer(this.chunk[0]) : undefined
    })
  }

  /** The error of a stream that ends here, if it ends inside a reply. */
  ended(): ProtocolError | undefined {
    if (this.error !== undefined || this.idle) return this.error
    return new ProtocolError({
      expected: "the rest of a reply",
      found: "the end of the stream",
      offset: this.offset,
      truncated: true,
      hint: undefined
    })
  }
}

const maxLine = (kind: number): number => {
  if (kind === SimpleString || kind === SimpleError) return maxTextLine
  return kind === Double ? maxDoubleLine : maxNumberLine
}

/** How well a line fits the grammar of its kind: see `respLine.ts`. */
const fitOf = (kind: number, text: string): number => {
  switch (kind) {
    case Integer:
      return integerFit(text)
    case Double:
      return doubleFit(text)
    case Null:
    case StreamEnd:
      return wordFit(text, "")
    case BooleanType:
      return wordFit(text, text[0] === "f" ? "f" : "t")
    default: {
      const streams = kind === Bulk || kind === ArrayType || kind === MapType || kind === SetType
      return lengthFit(text, kind === Bulk || kind === ArrayType, streams)
    }
  }
}

const nameOf = (kind: number): string => {
  switch (kind) {
    case Integer:
      return "an integer"
    case Double:
      return "a double"
    case BooleanType:
      return 'a boolean ("t" or "f")'
    default:
      return "a length"
  }
}

const simpleNotText =
  "A simple string of the reply is not UTF-8. These are text in both modes; have the server send it as a bulk string"

const notText = (buffer: Uint8Array, from: number, to: number): DecodeError =>
  isUtf8(buffer.subarray(from, to))
    ? new DecodeError(
        "length",
        `A text of the reply is too long for a string (${to - from} bytes): use decode: "bytes"`
      )
    : new DecodeError("utf8", 'A string of the reply is not UTF-8: use decode: "bytes"')

/** A byte as people read it. */
const describe = (byte: number): string => {
  if (byte === CR) return String.raw`"\r"`
  if (byte === LF) return String.raw`"\n"`
  if (byte > 0x20 && byte < 0x7f) return JSON.stringify(String.fromCharCode(byte))
  return `the byte 0x${byte.toString(16).padStart(2, "0")}`
}

/** What a stream that begins with this byte may be. */
const foreignPeer = (byte: number): string => {
  if (byte === 0x48) return "The peer may speak HTTP: is this the address of a Redis server?"
  if (byte === 0x15 || byte === 0x16) return "The peer may speak TLS: use rediss://, or the port without TLS"
  return "Is this the address of a Redis server?"
}

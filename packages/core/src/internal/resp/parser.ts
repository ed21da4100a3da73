/**
 * The RESP2 and RESP3 parser: synchronous, resumable at every byte, iterative.
 *
 * `push(chunk, out)` reads a chunk and appends what it completed to `out`. There are two ways through it:
 *
 * - The hot loop takes what lies whole in the chunk, for the common types: the `take…` methods.
 * - Everything else (other types, a value cut by the end of the chunk, a wrong byte, a value that nobody will see) goes
 *   through small states, a `read…` method each. These keep what has come, so no byte of a long value is looked at twice,
 *   however small the chunks are.
 *
 * Parsed values go to `Assembly`, which puts replies together.
 *
 * Grammar: the RESP3 specification and the Redis serialization protocol page; what these leave open is decided strictly,
 * except for what servers really send (`-nan`, a leading `+`). After a wrong byte the parser is dead: it never looks for
 * a place to go on.
 *
 * Every field is set in the constructor, with values of one kind: the hot loop runs several times slower otherwise.
 *
 * @internal
 */
import { isUtf8 } from "node:buffer"
import { Assembly, type Parsed } from "./assembly.ts"
import type { Builder } from "./builder.ts"
import { BodyBuffer, giveBack } from "./bodyBuffer.ts"
import {
  ArrayType,
  Attribute,
  BigNumber,
  BlobError,
  BooleanType,
  Bulk,
  COLON,
  CR,
  describe,
  DOT,
  Double,
  fitOf,
  foreignPeer,
  Integer,
  isType,
  LF,
  MapType,
  maxLine,
  MINUS,
  describeKind,
  NINE,
  Null,
  ONE,
  PLUS,
  PushType,
  SetType,
  SimpleError,
  SimpleString,
  StreamChunk,
  StreamEnd,
  Verbatim,
  ZERO
} from "./grammar.ts"
import { FITS, toDouble, toInteger } from "./line.ts"
import { DecodeError, type Limits, ProtocolError, ReplyLimitError } from "./model.ts"
import { exactText, latin1Text, lossyText, TextWindow } from "./text.ts"

/** The states of the parser: what comes next. */
const AtValue = 0
const InLine = 1
const AtLineFeed = 2
const InBody = 3
const AtBodyCR = 4
const AtBodyLF = 5
const AtStreamChunk = 6

/** Where a value ends that the hot loop does not take. */
const NOT_TAKEN = 0

/** The most digits of a small integer, which the engine computes with fastest; longer ones are left to the slower way. */
const SMALL_DIGITS = 9

/** The most digits that are exact as a number, whatever they are. */
const EXACT_DIGITS = 15

/** Powers of ten that are exact as numbers: a quotient of two exact numbers is rounded once, so rightly. */
const powersOfTen: ReadonlyArray<number> = Array.from({ length: EXACT_DIGITS + 1 }, (_, exponent) => 10 ** exponent)

const maxElementCount = 2 ** 32 - 1

/** The size that a line buffer shrinks back to when a long line is over. */
const LINE_BYTES = 128
const LONG_LINE_BYTES = 4096

/** The rest of a body that is worth a read of its own. A shorter one is copied: its read takes along what comes after it. */
const LEAST_ROOM = 64 * 1024

const empty = new Uint8Array(0)

/** The settings of a parser. */
export interface ParserOptions {
  readonly limits: Limits
  /** Whether strings are `Uint8Array`. */
  readonly bytes: boolean
  /** Whether the memory of a chunk is used again after `push`. Then nothing of it is kept. */
  readonly volatile: boolean
}

/** See the head of this file. */
export class Parser<V> {
  /** Why the parser is dead. */
  error: ProtocolError | undefined = undefined

  private readonly builder: Builder<V>
  private readonly limits: Limits
  private readonly volatile: boolean
  private readonly assembly: Assembly<V>
  /** Where nothing is put, so that the caller's array is not kept. */
  private readonly nowhere: Array<Parsed<V>> = []

  private chunk: Uint8Array = empty
  private pos = 0
  private end = 0
  /** Place of the chunk's first byte in the stream. */
  private offset = 0
  /** Where the reply that has begun begins, with the attributes before it. */
  private begunAt = 0
  private readonly window = new TextWindow()

  private state = AtValue
  /** The type of the line or body that is being read. */
  private kind = 0
  /** Place of the line's content in the stream. */
  private lineOffset = 0
  /** The part that has come of a line that was cut. */
  private line: Uint8Array = new Uint8Array(LINE_BYTES)
  private lineLength = 0
  /** Digits of the big number so far, and whether it has a sign. */
  private digits = 0
  private signed = false

  private bodyLength = 0
  private bodyLeft = 0
  /** Bytes of the streamed string so far. */
  private streamed = 0
  private readonly gather = new BodyBuffer()

  constructor(builder: Builder<V>, options: ParserOptions) {
    this.builder = builder
    this.limits = options.limits
    this.volatile = options.volatile
    this.assembly = new Assembly(builder, options.limits, options.bytes)
  }

  get idle(): boolean {
    return this.error === undefined && this.state === AtValue && this.assembly.idle
  }

  get inReply(): boolean {
    if (this.error !== undefined) return false
    if (!this.assembly.atTop) return this.assembly.inReply
    return this.state !== AtValue && this.kind !== PushType && this.kind !== Attribute
  }

  /** Bytes read so far. */
  get position(): number {
    return this.offset
  }

  /** The number of replies that have come, failed ones and those that nobody waits for among them. The reply that has begun has this number. */
  get replies(): number {
    return this.assembly.count
  }

  get room(): Uint8Array | undefined {
    if (this.bodyLeft < LEAST_ROOM || this.state !== InBody) return undefined
    return this.assembly.discarding ? undefined : this.gather.room
  }

  get nextBytes(): ((reply: number) => boolean) | null {
    return this.assembly.nextBytes
  }

  set nextBytes(nextBytes: ((reply: number) => boolean) | null) {
    this.assembly.nextBytes = nextBytes
  }

  get pushBytes(): boolean {
    return this.assembly.pushBytes
  }

  set pushBytes(bytes: boolean) {
    this.assembly.pushBytes = bytes
  }

  /** Reads a chunk, appends what it completed to `out`, and gives the error if the stream is (or was) wrong. */
  push(chunk: Uint8Array, out: Array<Parsed<V>>): ProtocolError | undefined {
    const { maxReplyBytes } = this.limits
    // A reply that begins in it cannot be too large; one that began before may be.
    if (chunk.length <= maxReplyBytes && (this.idle || this.offset + chunk.length <= this.begunAt + maxReplyBytes)) {
      return this.pushPiece(chunk, out)
    }
    return this.pushPieces(chunk, out)
  }

  /** Cuts the chunk where a reply becomes too large, so that this does not depend on where the stream is cut. */
  private pushPieces(chunk: Uint8Array, out: Array<Parsed<V>>): ProtocolError | undefined {
    const { maxReplyBytes } = this.limits
    let from = 0
    while (from < chunk.length && this.error === undefined) {
      const room = this.idle || this.assembly.skipping ? maxReplyBytes : this.begunAt + maxReplyBytes - this.offset
      if (room <= 0) this.tooLarge()
      else {
        const to = Math.min(chunk.length, from + room)
        this.pushPiece(chunk.subarray(from, to), out)
        from = to
      }
    }
    return this.error
  }

  private tooLarge(): void {
    this.failBegun(new ReplyLimitError("maxReplyBytes", this.limits.maxReplyBytes))
  }

  /** Gives up the reply that has begun: what there is of it is dropped, and the rest is skipped. */
  abandon(): void {
    if (this.error !== undefined || !this.inReply || this.assembly.skipping) return
    this.failBegun(undefined)
  }

  /** Fails the reply that has begun, between two pieces of the stream. */
  private failBegun(error: ReplyLimitError | undefined): void {
    // An end mark of a streamed aggregate is no value of it.
    const between = this.state === AtValue || (this.kind === StreamEnd && this.state !== AtStreamChunk)
    this.gather.clear()
    if (error === undefined) this.assembly.abandon(between)
    else this.assembly.fail(error, between)
  }

  private pushPiece(chunk: Uint8Array, out: Array<Parsed<V>>): ProtocolError | undefined {
    if (this.error !== undefined) return this.error
    this.chunk = chunk
    this.pos = 0
    this.end = chunk.length
    this.assembly.out = out
    try {
      this.run()
    } catch (cause) {
      this.die(cause)
    }
    this.offset += this.end
    this.chunk = empty
    this.assembly.out = this.nowhere
    this.window.close()
    return this.error
  }

  /** Ends the stream. Returns an error when it was inside a reply. */
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

  /** Nothing is read any more. What is no wrong byte is a defect, and goes on to the caller. */
  private die(cause: unknown): void {
    const defect = !(cause instanceof ProtocolError)
    this.error = defect ? this.protocolError("to go on", "a defect in this process", this.here) : cause
    this.gather.clear()
    this.assembly.drop()
    if (defect) throw cause
  }

  private run(): void {
    while (this.pos < this.end) {
      if (this.state === AtValue) this.readValues()
      else if (this.state === InLine) this.readLine()
      else if (this.state === InBody) this.readBody()
      else if (this.state === AtLineFeed) this.readLineFeed()
      else if (this.state === AtStreamChunk) this.readStreamChunk()
      else this.readBodyEnd()
    }
  }

  // ---------------------------------------------------------------------------------------------------------------
  // The hot loop: values that lie whole in the chunk
  // ---------------------------------------------------------------------------------------------------------------

  /** Takes values out of the chunk, until it ends or one needs another state. */
  private readValues(): void {
    const { assembly, chunk, end } = this
    let pos = this.pos
    while (pos < end) {
      const type = chunk[pos]
      if (!assembly.discarding) {
        const next =
          type === Bulk
            ? this.takeBulk(chunk, pos, end)
            : type === Integer
              ? this.takeInteger(chunk, pos, end)
              : this.takeOther(type, chunk, pos, end)
        if (next !== NOT_TAKEN) {
          pos = next
          continue
        }
      } else {
        const next =
          type === Bulk
            ? this.passBulk(chunk, pos, end)
            : type === Integer
              ? this.passInteger(chunk, pos, end)
              : NOT_TAKEN
        if (next !== NOT_TAKEN) {
          pos = next
          continue
        }
      }
      this.pos = pos
      this.beginValue(type)
      if (this.state !== AtValue) return
      pos = this.pos
    }
    this.pos = pos
  }

  /** The types that are not in the loop itself: takes the value at `start` and says where it ends, or refuses it. */
  private takeOther(type: number, chunk: Uint8Array, start: number, end: number): number {
    switch (type) {
      case ArrayType:
      case MapType:
      case SetType:
      case PushType:
        return this.takeHead(type, chunk, start, end)
      case Double:
        return this.takeDouble(chunk, start, end)
      case SimpleString:
        return this.takeOk(chunk, start, end)
      case Null:
        return this.takeNull(chunk, start, end)
      default:
        return NOT_TAKEN
    }
  }

  private takeBulk(chunk: Uint8Array, start: number, end: number): number {
    if (start + 4 < end && chunk[start + 1] === MINUS) return this.takeNullBulk(chunk, start)
    let at = start + 1
    let length = 0
    let digit = 0
    while (at < end && (digit = chunk[at] - ZERO) >= 0 && digit <= 9) {
      length = (length * 10 + digit) | 0
      at++
    }
    if (at === start + 1 || at - start > SMALL_DIGITS) return NOT_TAKEN
    const from = at + 2
    const to = from + length
    if (to + 1 >= end || length > this.limits.maxBulkBytes) return NOT_TAKEN
    if (chunk[at] !== CR || chunk[at + 1] !== LF || chunk[to] !== CR || chunk[to + 1] !== LF) return NOT_TAKEN
    const { assembly } = this
    if (assembly.depth === 0) assembly.beginReply()
    if (assembly.bytes) assembly.deliver(this.builder.bulk(this.ownBytes(chunk, from, to), false))
    else {
      const text = this.window.read(chunk, from, to, end)
      if (text === undefined) this.endString(chunk, from, to, false, undefined, false)
      else assembly.deliver(this.builder.bulk(text, false))
    }
    return to + 2
  }

  /** A bulk that nobody will see. */
  private passBulk(chunk: Uint8Array, start: number, end: number): number {
    let at = start + 1
    let length = 0
    let digit = 0
    while (at < end && (digit = chunk[at] - ZERO) >= 0 && digit <= 9) {
      length = (length * 10 + digit) | 0
      at++
    }
    if (at === start + 1 || at - start > SMALL_DIGITS) return NOT_TAKEN
    const to = at + 2 + length
    if (to + 1 >= end || length > this.limits.maxBulkBytes) return NOT_TAKEN
    if (chunk[at] !== CR || chunk[at + 1] !== LF || chunk[to] !== CR || chunk[to + 1] !== LF) return NOT_TAKEN
    this.assembly.begin(Bulk)
    this.assembly.pass()
    return to + 2
  }

  /** An integer that nobody will see. */
  private passInteger(chunk: Uint8Array, start: number, end: number): number {
    const first = start + 1 < end && chunk[start + 1] === MINUS ? start + 2 : start + 1
    let at = first
    while (at < end && chunk[at] >= ZERO && chunk[at] <= NINE) at++
    if (at + 1 >= end || at === first || at - first > SMALL_DIGITS) return NOT_TAKEN
    if (chunk[at] !== CR || chunk[at + 1] !== LF) return NOT_TAKEN
    this.assembly.begin(Integer)
    this.assembly.pass()
    return at + 2
  }

  /** The null of RESP2. */
  private takeNullBulk(chunk: Uint8Array, start: number): number {
    if (chunk[start + 2] !== ONE || chunk[start + 3] !== CR || chunk[start + 4] !== LF) return NOT_TAKEN
    this.assembly.deliver(this.builder.null("bulk"))
    return start + 5
  }

  private takeInteger(chunk: Uint8Array, start: number, end: number): number {
    const negative = start + 1 < end && chunk[start + 1] === MINUS
    const first = negative ? start + 2 : start + 1
    let at = first
    let value = 0
    let digit = 0
    while (at < end && (digit = chunk[at] - ZERO) >= 0 && digit <= 9) {
      value = (value * 10 + digit) | 0
      at++
    }
    if (at + 1 >= end || at === first || at - first > SMALL_DIGITS) return NOT_TAKEN
    if (chunk[at] !== CR || chunk[at + 1] !== LF) return NOT_TAKEN
    this.assembly.deliver(this.builder.integer(negative ? (0 - value) | 0 : value))
    return at + 2
  }

  private takeOk(chunk: Uint8Array, start: number, end: number): number {
    if (start + 4 >= end || chunk[start + 1] !== 0x4f || chunk[start + 2] !== 0x4b) return NOT_TAKEN
    if (chunk[start + 3] !== CR || chunk[start + 4] !== LF) return NOT_TAKEN
    this.assembly.deliver(this.builder.simple("OK"))
    return start + 5
  }

  private takeNull(chunk: Uint8Array, start: number, end: number): number {
    if (start + 2 >= end || chunk[start + 1] !== CR || chunk[start + 2] !== LF) return NOT_TAKEN
    this.assembly.deliver(this.builder.null("null"))
    return start + 3
  }

  /** The head of an aggregate of known length. */
  private takeHead(type: number, chunk: Uint8Array, start: number, end: number): number {
    let at = start + 1
    let count = 0
    let digit = 0
    while (at < end && (digit = chunk[at] - ZERO) >= 0 && digit <= 9) {
      count = (count * 10 + digit) | 0
      at++
    }
    if (at + 1 >= end || at === start + 1 || at - start > SMALL_DIGITS) return NOT_TAKEN
    if (chunk[at] !== CR || chunk[at + 1] !== LF) return NOT_TAKEN
    if (type === PushType && !this.assembly.mayPush) return NOT_TAKEN
    if (this.assembly.idle) this.begunAt = this.offset + start
    this.assembly.begin(type)
    this.kind = type
    this.lineOffset = this.offset + start + 1
    this.open(count)
    return at + 2
  }

  /** Digits with perhaps a fraction, so few of them that one division gives the nearest number. */
  private takeDouble(chunk: Uint8Array, start: number, end: number): number {
    const negative = start + 1 < end && chunk[start + 1] === MINUS
    const first = negative ? start + 2 : start + 1
    let at = first
    let dot = -1
    let value = 0
    while (at < end) {
      const byte = chunk[at]
      if (byte >= ZERO && byte <= NINE) value = value * 10 + byte - ZERO
      else if (byte === DOT && dot === -1 && at > first) dot = at
      else break
      at++
    }
    if (at + 1 >= end || at === first || at - first > EXACT_DIGITS || dot === at - 1) return NOT_TAKEN
    if (chunk[at] !== CR || chunk[at + 1] !== LF) return NOT_TAKEN
    const size = dot === -1 ? value : value / powersOfTen[at - dot - 1]
    this.assembly.deliver(this.builder.double(negative ? -size : size))
    return at + 2
  }

  // ---------------------------------------------------------------------------------------------------------------
  // The states
  // ---------------------------------------------------------------------------------------------------------------

  /** The type byte of a value that the hot loop did not take. */
  private beginValue(type: number): void {
    if (this.assembly.idle) this.begunAt = this.here
    this.assembly.begin(type)
    this.checkType(type)
    this.beginLine(type)
    if (this.pos < this.end) this.readLine()
  }

  /** Fails unless a value of this type may begin here. */
  private checkType(type: number): void {
    if (type === PushType && !this.assembly.mayPush) this.wrong("an element (a push stands between replies)", this.here)
    if (type === StreamEnd && !this.assembly.mayEndStream) this.wrong("a value", this.here)
    if (type === StreamChunk) this.wrong("a value (no streamed string is open)", this.here)
    if (!isType(type)) this.wrong("the type byte of a RESP value", this.here)
  }

  private beginLine(type: number): void {
    this.pos++
    this.kind = type
    this.lineLength = 0
    this.lineOffset = this.here
    this.digits = 0
    this.signed = false
    this.state = InLine
  }

  /** Reads on in the line whose type is `kind`, to its CR LF or the end of the chunk. */
  private readLine(): void {
    const { chunk, end } = this
    const from = this.pos
    let at = from
    while (at < end && chunk[at] !== CR && chunk[at] !== LF) at++
    if (this.kind === BigNumber) this.checkBigNumber(from, at)
    else this.checkLineLength(at - from)
    const whole = at + 1 < end && chunk[at] === CR && chunk[at + 1] === LF && this.lineLength === 0
    if (!whole) return this.cutLine(from, at)
    this.pos = at + 2
    this.state = AtValue
    this.endLine(chunk, from, at)
  }

  /** The line cannot be taken from the chunk at once: keeps what has come, and checks it. */
  private cutLine(from: number, at: number): void {
    this.keepLine(from, at)
    this.pos = at
    if (at === this.end) return this.checkLine(false)
    this.checkLine(true)
    if (this.chunk[at] === LF) this.wrong("CR LF", this.here)
    this.pos = at + 1
    this.state = AtLineFeed
  }

  private keepLine(from: number, to: number): void {
    if (this.assembly.discarding && this.kind === BigNumber) return
    const length = this.lineLength + to - from
    if (length > this.line.length) {
      const larger = new Uint8Array(Math.max(length, this.line.length * 2))
      larger.set(this.line.subarray(0, this.lineLength))
      this.line = larger
    }
    this.line.set(this.chunk.subarray(from, to), this.lineLength)
    this.lineLength = length
  }

  /** The line feed of a line that was cut. */
  private readLineFeed(): void {
    if (this.chunk[this.pos] !== LF) this.wrong("LF after CR", this.here)
    this.pos++
    this.state = AtValue
    this.endLine(this.line, 0, this.lineLength)
    if (this.line.length > LONG_LINE_BYTES) this.line = new Uint8Array(LINE_BYTES)
  }

  private readStreamChunk(): void {
    if (this.chunk[this.pos] !== StreamChunk) this.wrong("a chunk (;) of the streamed string", this.here)
    this.beginLine(StreamChunk)
  }

  private readBody(): void {
    const { chunk } = this
    const from = this.pos
    const size = Math.min(this.bodyLeft, this.end - from)
    const to = from + size
    if (this.kind === Verbatim) this.checkVerbatim(from, size)
    if (!this.assembly.discarding) {
      const isWhole = size === this.bodyLength && this.kind !== StreamChunk
      if (isWhole && to + 1 < this.end && chunk[to] === CR && chunk[to + 1] === LF) {
        this.pos = to + 2
        this.state = AtValue
        return this.endBody(chunk, from, to, false)
      }
      const length = this.kind === StreamChunk ? -1 : this.bodyLength
      this.gather.add(chunk, from, to, length, !this.volatile, !this.assembly.bytes)
    }
    this.pos = to
    this.bodyLeft -= size
    if (this.bodyLeft === 0) this.state = AtBodyCR
  }

  private readBodyEnd(): void {
    const last = this.state === AtBodyLF
    if (this.chunk[this.pos] !== (last ? LF : CR)) this.wrong("CR LF after the string", this.here)
    this.pos++
    if (!last) this.state = AtBodyLF
    else if (this.kind === StreamChunk) this.state = AtStreamChunk
    else this.endGathered()
  }

  private endGathered(): void {
    this.state = AtValue
    if (this.assembly.discarding) return this.assembly.pass()
    const value = this.gather.finish()
    this.endBody(value, 0, value.length, true)
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Lines
  // ---------------------------------------------------------------------------------------------------------------

  private checkLineLength(more: number): void {
    const max = maxLine(this.kind)
    if (this.lineLength + more <= max) return
    // A wrong byte before that place comes first, as it does when the line is cut there.
    this.keepLine(this.pos, this.pos + max - this.lineLength)
    this.checkLine(false)
    throw this.protocolError("CR LF", `a line of more than ${max} bytes`, this.lineOffset + max)
  }

  /** Big numbers may be long, so they are checked and counted piece by piece. */
  private checkBigNumber(from: number, to: number): void {
    for (let at = from; at < to; at++) {
      const byte = this.chunk[at]
      if (byte >= ZERO && byte <= NINE) this.digits++
      else if ((byte === MINUS || byte === PLUS) && this.digits === 0 && !this.signed) this.signed = true
      else this.wrong(this.digits === 0 ? describeKind(BigNumber) : "CR LF", this.offset + at)
    }
    const max = this.limits.maxBigNumberDigits
    if (this.digits > max && !this.assembly.skipping) this.fail(new ReplyLimitError("maxBigNumberDigits", max))
  }

  /** Checks what has come of a line that was cut. */
  private checkLine(complete: boolean): void {
    if (this.kind === SimpleString || this.kind === SimpleError) return
    if (this.kind === BigNumber) {
      if (complete && this.digits === 0) this.wrong(describeKind(BigNumber), this.here)
    } else this.checkText(latin1Text(this.line, 0, this.lineLength), complete)
  }

  /** Fails at the first byte of a line that is outside the grammar of its kind. */
  private checkText(text: string, complete: boolean): void {
    const fit = fitOf(this.kind, text)
    if (fit === FITS || (fit === text.length && !complete)) return
    const expected = fitOf(this.kind, text.slice(0, fit)) === FITS ? "CR LF" : describeKind(this.kind)
    throw this.protocolError(expected, describe(fit === text.length ? CR : text.charCodeAt(fit)), this.lineOffset + fit)
  }

  /** A whole line: a value, or the head of one. */
  private endLine(buffer: Uint8Array, from: number, to: number): void {
    switch (this.kind) {
      case SimpleString:
        return this.endSimple(buffer, from, to)
      case SimpleError:
        if (this.assembly.discarding) return this.assembly.pass()
        return this.assembly.deliver(this.builder.error(lossyText(buffer, from, to), false))
      case BigNumber:
        return this.endBigNumber(buffer, from, to)
      default:
        return this.endShortLine(latin1Text(buffer, from, to))
    }
  }

  private endSimple(buffer: Uint8Array, from: number, to: number): void {
    if (this.assembly.discarding) return this.assembly.pass()
    const text = buffer === this.chunk ? this.window.read(buffer, from, to, this.end) : exactText(buffer, from, to)
    if (text === undefined) this.failText(new DecodeError("utf8", simpleNotText))
    else this.assembly.deliver(this.builder.simple(text))
  }

  private endBigNumber(buffer: Uint8Array, from: number, to: number): void {
    if (this.digits === 0) {
      throw this.protocolError(describeKind(BigNumber), describe(CR), this.lineOffset + (this.signed ? 1 : 0))
    }
    if (this.assembly.discarding) this.assembly.pass()
    else this.assembly.deliver(this.builder.big(BigInt(latin1Text(buffer, from, to))))
  }

  private endShortLine(text: string): void {
    this.checkText(text, true)
    switch (this.kind) {
      case Integer:
        return this.endInteger(text)
      case Null:
        return this.endScalar(this.builder.null("null"))
      case BooleanType:
        return this.endScalar(this.builder.boolean(text === "t"))
      case Double:
        return this.endScalar(this.builder.double(toDouble(text)))
      case StreamEnd:
        return this.assembly.endStream()
      case StreamChunk:
        return this.beginChunk(Number(text))
      case Bulk:
      case BlobError:
      case Verbatim:
        if (text === "-1") return this.endScalar(this.builder.null("bulk"))
        return text === "?" ? this.beginStreamedString() : this.beginBody(Number(text))
      default:
        if (text === "-1") return this.endScalar(this.builder.null("array"))
        return text === "?" ? this.counted(this.assembly.openStream(this.kind)) : this.open(Number(text))
    }
  }

  private endInteger(text: string): void {
    const value = toInteger(text)
    if (value === undefined) throw this.protocolError("an integer of 64 bits", "a longer one", this.lineOffset)
    this.endScalar(this.builder.integer(value))
  }

  private endScalar(value: V): void {
    if (this.assembly.discarding) this.assembly.pass()
    else this.assembly.deliver(value)
  }

  /** The head of an aggregate, of `kind` and known length. */
  private open(count: number): void {
    const elements = this.kind === MapType || this.kind === Attribute ? count * 2 : count
    if (elements > maxElementCount) throw this.protocolError("at most 2^32 - 1 elements", "more", this.lineOffset)
    this.counted(this.assembly.open(this.kind, elements))
  }

  private counted(counted: boolean): void {
    if (!counted) throw this.protocolError("a reply that can be skipped", "one nested too deep", this.lineOffset)
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
    this.beginBody(length)
    this.streamed += length
    this.checkBulkLimit(this.streamed)
  }

  private checkBulkLimit(length: number): void {
    const max = this.limits.maxBulkBytes
    if (length > max && !this.assembly.skipping) this.fail(new ReplyLimitError("maxBulkBytes", max))
  }

  /** The fourth byte of a verbatim string is a colon. */
  private checkVerbatim(from: number, size: number): void {
    const at = from + 3 - (this.bodyLength - this.bodyLeft)
    if (at < from || at >= from + size || this.chunk[at] === COLON) return
    this.wrong('":" after the format of a verbatim string', this.offset + at)
  }

  /** The whole body lies in `buffer`, which is `own` if nobody else has it. */
  private endBody(buffer: Uint8Array, from: number, to: number, own: boolean): void {
    if (this.kind === BlobError) return this.assembly.deliver(this.builder.error(lossyText(buffer, from, to), true))
    if (this.kind === Bulk) return this.endString(buffer, from, to, own, undefined, false)
    this.endString(buffer, from + 4, to, own, latin1Text(buffer, from, from + 3), false)
  }

  private endStreamedString(): void {
    if (this.assembly.discarding) return this.assembly.pass()
    const value = this.gather.finish()
    this.endString(value, 0, value.length, true, undefined, true)
  }

  /** A string of the kinds that may be bytes; a verbatim one has a format. */
  private endString(
    buffer: Uint8Array,
    from: number,
    to: number,
    own: boolean,
    format: string | undefined,
    streamed: boolean
  ): void {
    const { bytes, inPush } = this.assembly
    const text = bytes ? undefined : exactText(buffer, from, to)
    if (text === undefined && !bytes && !inPush) return this.failText(notText(buffer, from, to))
    if (own && text !== undefined) giveBack(buffer)
    const value = text ?? (own ? buffer.subarray(from, to) : this.ownBytes(buffer, from, to))
    this.assembly.deliver(
      format === undefined ? this.builder.bulk(value, streamed) : this.builder.verbatim(format, value)
    )
  }

  /** Bytes of a chunk, in memory of their own, unless they are most of what the chunk holds anyway. */
  private ownBytes(chunk: Uint8Array, from: number, to: number): Uint8Array {
    const size = to - from
    if (!this.volatile && size * 2 >= chunk.buffer.byteLength) {
      return new Uint8Array(chunk.buffer, chunk.byteOffset + from, size)
    }
    const own = new Uint8Array(size)
    own.set(chunk.subarray(from, to))
    return own
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Failures
  // ---------------------------------------------------------------------------------------------------------------

  private fail(error: DecodeError | ReplyLimitError): void {
    this.gather.clear()
    this.assembly.fail(error)
  }

  /** The reply fails because of the text that just ended. */
  private failText(error: DecodeError): void {
    this.fail(error)
    this.assembly.pass()
  }

  /** Where the byte at `pos` is in the stream. */
  private get here(): number {
    return this.offset + this.pos
  }

  /** The byte at this place of the stream, which is in the chunk, is outside the grammar. */
  private wrong(expected: string, offset: number): never {
    throw this.protocolError(expected, describe(this.chunk[offset - this.offset]), offset)
  }

  private protocolError(expected: string, found: string, offset: number): ProtocolError {
    const hint = offset === 0 ? foreignPeer(this.chunk[0]) : undefined
    return new ProtocolError({ expected, found, offset, truncated: false, hint })
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

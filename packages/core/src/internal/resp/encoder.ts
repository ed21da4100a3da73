/**
 * Commands to bytes, in two steps that fit the writer of a socket.
 *
 * `Encoder` runs in the caller's turn and makes one `Payload` of a command: one string where all arguments are short text
 * (no array, no buffer), else parts in order. Long texts and byte arrays are parts of their own, as copying them into
 * something else costs more than handing them to the socket. `Batch` runs in the writer and glues the payloads that go out
 * together into as few chunks as possible.
 *
 * Strings are meant as UTF-8, which is what sockets write a string as.
 *
 * @internal
 */
import { Buffer } from "node:buffer"
import type { Heads } from "./heads.ts"

/**
 * One argument of a command. Numbers and bigints are sent in decimal, infinities as `inf` and `-inf`, text as UTF-8, bytes as
 * they are.
 *
 * @category models
 * @since 0.1.0
 */
export type Argument = string | number | bigint | Uint8Array

/**
 * A command: its name (and subcommand) and its arguments, each an element, as in `["SET", "key", "value"]`.
 *
 * @category models
 * @since 0.1.0
 */
export type Command = ReadonlyArray<Argument>

/** The bytes of one entry of a mailbox: one string, or parts in order. */
export type Payload = string | ReadonlyArray<string | Uint8Array>

/**
 * Why a command cannot be encoded. Nothing was sent. The message names the place and what to do, never the value.
 *
 * - `command`: the index of the command in its pipeline (0 for a single one); -1 when the pipeline as a whole is wrong.
 * - `position`: the index of the argument in its command, 0 being the name; -1 when the command as a whole is wrong.
 *
 * @category errors
 * @since 0.1.0
 */
export class ArgumentFailure {
  readonly _tag = "ArgumentFailure"
  /** The sentence behind the place: `is empty: give at least the command's name`. */
  readonly problem: string
  readonly command: number
  readonly position: number

  constructor(problem: string, command: number, position: number) {
    this.problem = problem
    this.command = command
    this.position = position
  }

  get message(): string {
    const { command, position, problem } = this
    if (command === -1) return problem
    const place = position === -1 ? `Command ${command}` : `Argument ${position} of command ${command}`
    return `${place} (counted from 0) ${problem}`
  }

  /** The same failure counted from the command at `first`: commands of ours may stand before the caller's. */
  countedFrom(first: number): ArgumentFailure {
    const command = this.command === -1 ? -1 : Math.max(0, this.command - first)
    return new ArgumentFailure(this.problem, command, this.position)
  }
}

/** Texts and byte arrays from this size on are parts, and chunks, of their own. */
const LARGE = 4096

/** Byte arrays above this size are not copied: the caller must not change them before they are written. */
const BY_REFERENCE = 16 * 1024

/**
 * Text of many arguments becomes bytes in parts of this size or a little more. Megabytes at once, in the writer, would hold the
 * event loop, and all the pieces that the text is made of would live until then; and a string has a longest length.
 */
const TEXT_PART = 64 * 1024

/** Up to this length a loop over the units is faster than asking for the length in UTF-8. */
const LOOP_LENGTH = 8

const header = (length: number): string => `\r\n$${length}\r\n`

/** The end of what comes before, and the head of an argument, by its length. */
const headers: ReadonlyArray<string> = Array.from({ length: 1024 }, (_, length) => header(length))

const headerOf = (length: number): string => (length < headers.length ? headers[length] : header(length))

/** Bytes of `headerOf(length)`. */
const headerLength = (length: number): number => {
  let size = 6
  for (let rest = length; rest >= 10; rest /= 10) size++
  return size
}

/**
 * Makes payloads. Needs one turn per command, so one encoder serves everybody.
 *
 * The text is handed from step to step and not kept in a field: each store of it there would cost as much as the rest.
 */
export class Encoder {
  /** Bytes of the payload that was made last. */
  bytes = 0
  private parts: Array<string | Uint8Array> | undefined = undefined
  private failure: ArgumentFailure | undefined = undefined
  private command = 0
  private readonly heads: Heads | undefined

  /** `heads` are the beginnings of known commands, which cost less than to put them together each time. */
  constructor(heads?: Heads) {
    this.heads = heads
  }

  /** One command. */
  encode(command: Command): Payload | ArgumentFailure {
    this.begin()
    return this.finish(this.add("", command))
  }

  /** Many commands, to be written together. */
  encodeAll(commands: ReadonlyArray<Command>): Payload | ArgumentFailure {
    this.begin()
    if (commands.length === 0) return new ArgumentFailure("The pipeline is empty: give it at least one command", -1, -1)
    return this.finish(this.addAll("", commands, 0, commands.length))
  }

  /** As `encodeAll`, with a rest after each part of so many commands. Needs an encoder of its own. */
  *encodeInSteps(commands: ReadonlyArray<Command>, step: number): Generator<void, Payload | ArgumentFailure> {
    this.begin()
    let text = ""
    for (let from = 0; from < commands.length; from += step) {
      if (from > 0) yield
      text = this.addAll(text, commands, from, Math.min(from + step, commands.length))
    }
    return this.finish(text)
  }

  private addAll(before: string, commands: ReadonlyArray<Command>, from: number, to: number): string {
    let text = before
    for (let index = from; index < to && this.failure === undefined; index++) {
      this.command = index
      text = this.add(text, commands[index])
    }
    return text
  }

  private begin(): void {
    this.bytes = 0
    this.parts = undefined
    this.failure = undefined
    this.command = 0
  }

  private finish(text: string): Payload | ArgumentFailure {
    const { failure, parts } = this
    this.parts = undefined
    if (failure !== undefined) return failure
    if (parts === undefined) return text
    parts.push(text)
    return parts
  }

  /** Adds a command behind `before`; returns the text that is not in a part yet. */
  private add(before: string, command: Command): string {
    if (!Array.isArray(command)) return this.fail("is not a command: give an array of its name and arguments", -1)
    const count = command.length
    if (count === 0) return this.fail("is empty: give at least the command's name", -1)
    const first: Argument = command[0]
    const known = this.heads !== undefined && typeof first === "string" ? this.heads.of(first, count) : ""
    const head = known === "" ? `*${count}` : known
    let text = before + head
    this.bytes += head.length + 2
    for (let index = known === "" ? 0 : 1; index < count; index++) {
      const argument: Argument = command[index]
      text = typeof argument === "string" ? this.addText(text, argument, index) : this.addOther(text, argument, index)
      if (this.failure !== undefined) return ""
      if (text.length >= TEXT_PART) text = this.cut(text)
    }
    return `${text}\r\n`
  }

  private cut(text: string): string {
    const parts = (this.parts ??= [])
    if (text !== "") parts.push(Buffer.from(text))
    return ""
  }

  private addOther(text: string, argument: Argument, position: number): string {
    if (typeof argument === "number") return this.addNumber(text, argument, position)
    if (typeof argument === "bigint") return this.addAscii(text, argument.toString())
    if (argument instanceof Uint8Array) return this.addBytes(text, argument, position)
    return this.fail(`is ${kindOf(argument)}: ${remedy}`, position)
  }

  private addNumber(text: string, value: number, position: number): string {
    if (value - value === 0) return this.addAscii(text, String(value))
    if (value === Infinity) return this.addAscii(text, "inf")
    if (value === -Infinity) return this.addAscii(text, "-inf")
    return this.fail("is NaN, which Redis does not know", position)
  }

  private addAscii(text: string, ascii: string): string {
    this.bytes += headerLength(ascii.length) + ascii.length
    return text + headerOf(ascii.length) + ascii
  }

  private addText(text: string, argument: string, position: number): string {
    const bytes = byteLength(argument)
    if (bytes !== argument.length && !argument.isWellFormed()) {
      return this.fail("holds half of a surrogate pair, which is no text: give its bytes as a Uint8Array", position)
    }
    this.bytes += headerLength(bytes) + bytes
    return bytes < LARGE ? text + headerOf(bytes) + argument : this.addPart(text, bytes, argument)
  }

  private addBytes(text: string, value: Uint8Array, position: number): string {
    const bytes = value.length
    if (bytes === 0) return isTransferred(value) ? this.fail(transferred, position) : this.addAscii(text, "")
    this.bytes += headerLength(bytes) + bytes
    // Not `slice`: that of a `Buffer` copies nothing.
    return this.addPart(text, bytes, bytes > BY_REFERENCE ? fixed(value) : new Uint8Array(value))
  }

  private addPart(text: string, bytes: number, part: string | Uint8Array): string {
    const parts = (this.parts ??= [])
    parts.push(text + headerOf(bytes), part)
    return ""
  }

  private fail(problem: string, position: number): string {
    this.failure = new ArgumentFailure(problem, this.command, position)
    return ""
  }
}

/** An array over a buffer that can shrink gets a length of its own: so it is empty from the moment on at which that is not there. */
const fixed = (value: Uint8Array): Uint8Array =>
  value.buffer instanceof ArrayBuffer && value.buffer.resizable
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : value

const isTransferred = ({ buffer }: Uint8Array): boolean => buffer instanceof ArrayBuffer && buffer.detached

const transferred = "is a Uint8Array whose buffer was transferred: give a copy"

/**
 * Has an array that was taken as it is (more than 16 KiB) lost its memory since the command was encoded, as its buffer was
 * transferred or shrunk? What would be written then is not what its length says, and all commands behind it would be misread.
 */
export const isSpoiled = (payload: Payload): boolean =>
  typeof payload !== "string" && payload.some((part) => typeof part !== "string" && part.length === 0)

/** Bytes of a text in UTF-8. */
const byteLength = (text: string): number => {
  const length = text.length
  if (length > LOOP_LENGTH) return Buffer.byteLength(text)
  for (let index = 0; index < length; index++) {
    if (text.charCodeAt(index) > 0x7f) return Buffer.byteLength(text)
  }
  return length
}

const remedy = "give a string, a number, a bigint or a Uint8Array"

const kindOf = (value: unknown): string => {
  if (value === undefined || value === null) return String(value)
  if (Array.isArray(value)) return "an array"
  return typeof value === "object" ? "an object" : `a ${typeof value}`
}

/** Chunks of payloads that are written together. */
export class Batch {
  private chunks: Array<string | Uint8Array> = []
  /** Text that is not in a chunk yet. */
  private text = ""
  /** Small parts before `text` that are not in a chunk yet: when there are some, the next chunk is bytes. */
  private small: Array<string | Uint8Array> = []

  /** Adds a payload. */
  add(payload: Payload): void {
    if (typeof payload === "string") {
      this.text += payload
      return
    }
    for (const part of payload) this.addPart(part)
  }

  /** Takes the chunks to write, in order; the batch is empty afterwards. A string stands for its UTF-8. */
  take(): Array<string | Uint8Array> {
    this.close()
    const chunks = this.chunks
    this.chunks = []
    return chunks
  }

  private addPart(part: string | Uint8Array): void {
    if (part.length >= LARGE) {
      this.close()
      this.chunks.push(part)
    } else if (typeof part === "string") {
      this.text += part
    } else {
      if (this.text !== "") this.small.push(this.text)
      this.small.push(part)
      this.text = ""
    }
  }

  /** Ends the chunk that is being put together. */
  private close(): void {
    if (this.small.length > 0) {
      if (this.text !== "") this.small.push(this.text)
      this.chunks.push(joined(this.small))
      this.small = []
    } else if (this.text !== "") {
      this.chunks.push(this.text)
    }
    this.text = ""
  }
}

/** The parts in one buffer. */
const joined = (parts: ReadonlyArray<string | Uint8Array>): Uint8Array => {
  let length = 0
  for (const part of parts) length += typeof part === "string" ? Buffer.byteLength(part) : part.length
  const buffer = Buffer.allocUnsafe(length)
  let at = 0
  for (const part of parts) {
    if (typeof part === "string") at += buffer.write(part, at)
    else {
      buffer.set(part, at)
      at += part.length
    }
  }
  return buffer
}

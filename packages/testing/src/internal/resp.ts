/**
 * The little RESP that test tools need: commands out, RESP2 values in. It is deliberately not the decoder under test,
 * so that a bug of that one cannot hide here. Sources: the RESP2 part of the protocol specification at redis.io.
 *
 * @internal
 */

/** A command argument. Strings go out as UTF-8. */
export type Argument = string | number | bigint | Uint8Array

/** An error reply: the text after `-`. */
export class ErrorValue {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** A RESP2 value with bulk strings as bytes. */
export type Value = string | number | null | Buffer | ErrorValue | Array<Value>

const argumentBytes = (argument: Argument): Uint8Array =>
  argument instanceof Uint8Array ? argument : Buffer.from(String(argument))

/** Encodes one command as an array of bulk strings. */
export const encodeCommand = (args: ReadonlyArray<Argument>): Buffer => {
  const parts: Array<Uint8Array> = [Buffer.from(`*${args.length}\r\n`)]
  for (const argument of args) {
    const bytes = argumentBytes(argument)
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n"))
  }
  return Buffer.concat(parts)
}

/** The peer sent something that is not RESP2. */
export class GrammarError extends Error {}

interface OpenArray {
  readonly items: Array<Value>
  readonly length: number
}

/** Marks "more bytes needed": `undefined` could not be told from a missing value. */
export const incomplete: unique symbol = Symbol("incomplete")

/**
 * An incremental parser: keeps the arrays it is inside of, so that a large reply in many chunks is read only once.
 * With `inline`, a line that starts with no type byte is a command in Redis' inline form, as a server accepts it.
 */
export class Parser {
  /** The bytes that were fed and not dropped yet: a view of `storage`, whose free end takes the next chunks. */
  private buffer: Buffer = Buffer.alloc(0)
  private storage: Buffer = this.buffer
  private position = 0
  private readonly open: Array<OpenArray> = []
  private readonly inline: boolean

  constructor(options?: { readonly inline?: boolean | undefined }) {
    this.inline = options?.inline ?? false
  }

  /** Adds bytes. Values are views of the storage, so it is only ever appended to, or replaced. */
  feed(chunk: Uint8Array): void {
    const used = this.buffer.length
    if (used + chunk.length > this.storage.length) return this.replace(chunk)
    this.storage.set(chunk, used)
    this.buffer = this.storage.subarray(0, used + chunk.length)
  }

  /** Moves the unread bytes and `chunk` to new storage with as much room again, which keeps long values cheap. */
  private replace(chunk: Uint8Array): void {
    const unread = this.unread
    const length = unread.length + chunk.length
    this.storage = Buffer.alloc(Math.max(2 * length, 4_096))
    this.storage.set(unread)
    this.storage.set(chunk, unread.length)
    this.buffer = this.storage.subarray(0, length)
    this.position = 0
  }

  /** The bytes that no value has taken yet. */
  get unread(): Buffer {
    return this.buffer.subarray(this.position)
  }

  /** Takes `count` raw bytes off the front. */
  skip(count: number): void {
    this.position += count
  }

  /** Puts bytes in front of the unread ones, to be read next. */
  putBack(bytes: Uint8Array): void {
    this.buffer = Buffer.concat([bytes, this.unread])
    this.storage = this.buffer
    this.position = 0
  }

  /** Takes the next value; `incomplete` when its last byte is not here yet. Throws a `GrammarError`. */
  take(): Value | typeof incomplete {
    for (;;) {
      const element = this.element()
      if (element === incomplete) return incomplete
      const value = this.close(element)
      if (value !== incomplete) return value
    }
  }

  /** Adds bytes and takes all values that are complete now. */
  push(chunk: Uint8Array): Array<Value> {
    this.feed(chunk)
    const values: Array<Value> = []
    for (let value = this.take(); value !== incomplete; value = this.take()) values.push(value)
    return values
  }

  /** Puts an element into the innermost open array; gives the whole value once nothing is open. */
  private close(element: Value | OpenArray): Value | typeof incomplete {
    if (isOpenArray(element)) {
      this.open.push(element)
    } else {
      const parent = this.open.at(-1)
      if (parent === undefined) return element
      parent.items.push(element)
    }
    for (;;) {
      const innermost = this.open.at(-1)
      if (innermost === undefined || innermost.items.length < innermost.length) return incomplete
      this.open.pop()
      const parent = this.open.at(-1)
      if (parent === undefined) return innermost.items
      parent.items.push(innermost.items)
    }
  }

  private element(): Value | OpenArray | typeof incomplete {
    const end = this.buffer.indexOf("\r\n", this.position)
    if (end === -1) return incomplete
    const line = this.buffer.toString("utf8", this.position + 1, end)
    switch (this.buffer[this.position]) {
      case 0x2b: // +
        this.position = end + 2
        return line
      case 0x2d: // -
        this.position = end + 2
        return new ErrorValue(line)
      case 0x3a: // :
        this.position = end + 2
        return integer(line)
      case 0x24: // $
        return this.bulk(integer(line), end + 2)
      case 0x2a: {
        // *
        const length = integer(line)
        this.position = end + 2
        return length < 0 ? null : { items: [], length }
      }
      default:
        return this.other(end)
    }
  }

  private bulk(length: number, start: number): Buffer | null | typeof incomplete {
    if (length < 0) {
      this.position = start
      return null
    }
    if (this.buffer.length < start + length + 2) return incomplete
    this.position = start + length + 2
    return this.buffer.subarray(start, start + length)
  }

  private other(end: number): Array<Value> {
    const line = this.buffer.toString("utf8", this.position, end)
    if (!this.inline) throw new GrammarError(`Not RESP2: ${JSON.stringify(line.slice(0, 40))}`)
    this.position = end + 2
    return line
      .split(" ")
      .filter((word) => word !== "")
      .map((word) => Buffer.from(word))
  }
}

const isOpenArray = (element: Value | OpenArray): element is OpenArray =>
  typeof element === "object" && element !== null && "items" in element

const integer = (line: string): number => {
  if (!/^[+-]?\d+$/.test(line)) throw new GrammarError(`Not an integer: ${JSON.stringify(line.slice(0, 40))}`)
  return Number(line)
}

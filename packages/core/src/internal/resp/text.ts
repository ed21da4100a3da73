/**
 * Bytes to text, never with a U+FFFD that the server did not send.
 *
 * `TextWindow` is for many short texts in one chunk. Decoding costs some 80 ns a call however short the text is, slicing a
 * string some 10 ns. So up to `windowBytes` from the current text on are decoded at once; when that gave as many UTF-16
 * units as there were bytes and no replacement character, every byte was ASCII, unit i is byte i, and each text inside is
 * a slice. Otherwise the window is spoiled and its texts are decoded one by one, and so are those for a while after it. The price: a slice of 13 units or more
 * keeps its window alive, so a program that keeps one short text of a reply keeps up to `windowBytes` bytes.
 *
 * @internal
 */
import { Buffer, isUtf8 } from "node:buffer"

const replacement = "\uFFFD"

/**
 * How far a window reaches: so much may be held by a text that is kept. Four times as far is a fifth faster for texts of 20 bytes in
 * an array (22 instead of 28 ns each), and holds four times as much.
 */
const WINDOW_BYTES = 256

/** For so long at most no window is tried after one that was spoiled. */
const longestPause = 16 * WINDOW_BYTES

/** Texts longer than this are decoded by themselves. */
const LONGEST_WINDOWED = 256

const empty = new Uint8Array(0)

/** Node's own UTF-8 decoder: `Buffer.prototype.toString` without its choice of encodings (which costs 10 ns). */
const utf8Slice: (this: Uint8Array, from: number, to: number) => string = Reflect.get(Buffer.prototype, "utf8Slice")

/** Text of bytes that need not be UTF-8: what is not becomes U+FFFD. For errors, which are for people. */
export const lossyText = (buffer: Uint8Array, from: number, to: number): string => utf8Slice.call(buffer, from, to)

/** Text of one byte per unit. */
export const latin1Text = (buffer: Uint8Array, from: number, to: number): string =>
  Buffer.from(buffer.buffer, buffer.byteOffset + from, to - from).toString("latin1")

/** Text of UTF-8; `undefined` when the bytes are not UTF-8 or the text is longer than a string can be. */
export const exactText = (buffer: Uint8Array, from: number, to: number): string | undefined => {
  if (to - from > LONGEST_SURE) return longText(buffer, from, to)
  const text = utf8Slice.call(buffer, from, to)
  return text.includes(replacement) && !isUtf8(buffer.subarray(from, to)) ? undefined : text
}

/** The most bytes that surely fit into one string. */
const LONGEST_SURE = 2 ** 28

/** As `exactText`, where the engine may refuse (Node throws `ERR_STRING_TOO_LONG`). */
const longText = (buffer: Uint8Array, from: number, to: number): string | undefined => {
  if (!isUtf8(buffer.subarray(from, to))) return undefined
  try {
    return utf8Slice.call(buffer, from, to)
  } catch {
    return undefined
  }
}

/** Texts of one chunk. */
export class TextWindow {
  private buffer: Uint8Array = empty
  private start = 0
  private end = 0
  private text = ""
  private exact = false
  /** How far a spoiled window reaches: further each time, as what follows such text is mostly like it. */
  private pause = WINDOW_BYTES

  /** As `exactText`, for a text in `buffer`, whose bytes up to `end` may be looked at. */
  read(buffer: Uint8Array, from: number, to: number, end: number): string | undefined {
    if (buffer === this.buffer && from < this.end && from >= this.start) {
      return this.exact && to <= this.end
        ? this.text.slice(from - this.start, to - this.start)
        : exactText(buffer, from, to)
    }
    if (to - from > LONGEST_WINDOWED || end - to < 16) return exactText(buffer, from, to)
    return this.open(buffer, from, to, end)
  }

  /** Forgets the chunk: it may be changed or freed. */
  close(): void {
    this.buffer = empty
    this.text = ""
  }

  private open(buffer: Uint8Array, from: number, to: number, end: number): string | undefined {
    const reach = Math.min(from + WINDOW_BYTES, end)
    this.buffer = buffer
    this.start = from
    this.text = utf8Slice.call(buffer, from, reach)
    this.exact = this.text.length === reach - from && !this.text.includes(replacement)
    this.end = this.exact ? reach : from + this.pause
    this.pause = this.exact ? WINDOW_BYTES : Math.min(this.pause * 2, longestPause)
    return this.exact ? this.text.slice(0, to - from) : exactText(buffer, from, to)
  }
}

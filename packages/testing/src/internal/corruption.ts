/**
 * Breaking replies where a decoder must notice. A scanner knows the role of each byte of a RESP stream (RESP2 and
 * RESP3; nesting does not matter for that), and a change is chosen so that what results is outside the grammar for sure:
 * for instance no type byte is ever turned into another valid one.
 *
 * @internal
 */
import type { CorruptKind, CorruptPlace } from "../Fault.ts"
import type { Random } from "./random.ts"

const CR = 0x0d

const bytesOf = (text: string): ReadonlySet<number> => new Set(Buffer.from(text, "latin1"))
/** Types whose header is a length. */
const lengthTypes = bytesOf("$*%~>|=!;")
/** Of these, those with a payload of that many bytes. */
const payloadTypes = bytesOf("$=!;")
const digits = bytesOf("0123456789")
/** Types whose header is a number of elements: how many values each element is. */
const elements: ReadonlyMap<number, number> = new Map(
  [...bytesOf("*~>")].map((type): [number, number] => [type, 1]).concat([...bytesOf("%|")].map((type) => [type, 2]))
)
const ATTRIBUTE = 0x7c
/** Types after which the same byte again is no valid text. */
const strictTypes = bytesOf("$*%~>|=!;:#,_(")

type State = "type" | "header" | "text" | "lf" | "payload" | "payload-cr" | "payload-lf"

/** Follows a stream of replies and finds bytes by their role. */
export class RespScanner {
  private state: State = "type"
  private header = ""
  private type = 0
  private payloadLeft = 0
  /** The values that the reply of now still lacks. */
  private missing = 1
  /** The number of whole replies so far. An attribute belongs to the reply behind it; a stream counts as no reply. */
  replies = 0

  /**
   * Walks over `chunk` from `start`, and stops before the first byte that `wanted` takes: gives its index, or -1 when
   * the whole chunk was walked.
   */
  walk(chunk: Buffer, start: number, wanted?: (place: CorruptPlace, byte: number) => boolean): number {
    let index = start
    while (index < chunk.length) {
      if (this.state === "payload") {
        const step = Math.min(this.payloadLeft, chunk.length - index)
        this.payloadLeft -= step
        index += step
        if (this.payloadLeft === 0) this.state = "payload-cr"
        continue
      }
      const byte = chunk[index] ?? 0
      const place = this.placeOf(byte)
      if (place !== undefined && wanted?.(place, byte) === true) return index
      this.step(byte)
      index++
    }
    return -1
  }

  private placeOf(byte: number): CorruptPlace | undefined {
    switch (this.state) {
      case "type":
        return "type"
      case "header":
        return byte === CR ? "cr" : digits.has(byte) ? "length" : undefined
      case "text":
        return byte === CR ? "cr" : undefined
      case "payload-cr":
        return "cr"
      case "lf":
      case "payload-lf":
        return "lf"
      case "payload":
        return undefined
    }
  }

  private step(byte: number): void {
    switch (this.state) {
      case "type":
        this.type = byte
        this.header = ""
        this.state = lengthTypes.has(byte) ? "header" : "text"
        return
      case "header":
      case "text":
        if (byte === CR) this.state = "lf"
        else if (this.state === "header") this.header += String.fromCharCode(byte)
        return
      case "lf":
        this.state = this.afterLine()
        return
      case "payload-cr":
        this.state = "payload-lf"
        return
      default:
        this.missing--
        this.state = this.afterValue()
    }
  }

  private afterLine(): State {
    const length = Number(this.header)
    if (!payloadTypes.has(this.type)) {
      if (this.type !== ATTRIBUTE) this.missing--
      this.missing += Math.max(0, length) * (elements.get(this.type) ?? 0)
      return this.afterValue()
    }
    // `$-1` has no payload, `$?` begins a streamed string, `;0` ends one.
    if (!(length >= 0) || (this.type === 0x3b && length === 0)) {
      this.missing--
      return this.afterValue()
    }
    this.payloadLeft = length
    return length === 0 ? "payload-cr" : "payload"
  }

  private afterValue(): State {
    if (this.missing === 0) {
      this.missing = 1
      this.replies++
    }
    return "type"
  }
}

const noType = [0x00, 0x40, 0x58, 0x7d] as const // NUL @ X }
const noDigit = [0x00, 0x2e, 0x78] as const // NUL . x
const noLineEnd = [0x00, 0x21, 0x58] as const // NUL ! X

const wrongByte = (at: CorruptPlace, random: Random): number =>
  random.pick(at === "type" ? noType : at === "length" ? noDigit : noLineEnd)

/** Where `at` and `how` are really done: a doubled length digit would be valid grammar. */
const placed = (at: CorruptPlace, how: CorruptKind): CorruptPlace =>
  how === "duplicate" && at === "length" ? "type" : at

/** Whether the change can be made at this byte. */
export const isFitting =
  (at: CorruptPlace, how: CorruptKind) =>
  (place: CorruptPlace, byte: number): boolean =>
    place === placed(at, how) && (how !== "duplicate" || place !== "type" || strictTypes.has(byte))

/** `chunk` with the change made at `index`. */
export const corrupted = (chunk: Buffer, index: number, at: CorruptPlace, how: CorruptKind, random: Random): Buffer => {
  const place = placed(at, how)
  const before = chunk.subarray(0, index)
  const self = chunk.subarray(index, index + 1)
  const after = chunk.subarray(index + 1)
  const wrong = Buffer.from([wrongByte(place, random)])
  if (how === "flip") return Buffer.concat([before, wrong, after])
  if (how === "duplicate") return Buffer.concat([before, self, self, after])
  // After a CR or an LF, but before a type byte or a digit: there the inserted byte can be no part of a text.
  if (place === "cr") return Buffer.concat([before, self, wrong, after])
  if (place === "lf") return Buffer.concat([before, self, Buffer.from([random.pick(noType)]), after])
  return Buffer.concat([before, wrong, self, after])
}

/**
 * The bytes of RESP: the types, the lines they begin, and what to say of a byte that is wrong.
 *
 * @internal
 */
import { doubleFit, integerFit, lengthFit, wordFit } from "./line.ts"

export const CR = 0x0d
export const LF = 0x0a
export const ZERO = 0x30
export const ONE = 0x31
export const NINE = 0x39
export const MINUS = 0x2d
export const PLUS = 0x2b
export const DOT = 0x2e
export const COLON = 0x3a

export const SimpleString = PLUS
export const SimpleError = MINUS
export const Integer = COLON
export const Bulk = 0x24
export const ArrayType = 0x2a
export const Null = 0x5f
export const Double = 0x2c
export const BooleanType = 0x23
export const BlobError = 0x21
export const Verbatim = 0x3d
export const BigNumber = 0x28
export const MapType = 0x25
export const SetType = 0x7e
export const Attribute = 0x7c
export const PushType = 0x3e
export const StreamChunk = 0x3b
export const StreamEnd = 0x2e

/** The bytes that may stand at the start of a line, in a place or another. */
const types: ReadonlySet<number> = new Set([
  SimpleString,
  SimpleError,
  Integer,
  Bulk,
  ArrayType,
  Null,
  Double,
  BooleanType,
  BlobError,
  Verbatim,
  BigNumber,
  MapType,
  SetType,
  Attribute,
  PushType,
  StreamChunk,
  StreamEnd
])

/** Whether this is a type byte, of a value or of a part of one. */
export const isType = (byte: number): boolean => types.has(byte)

/** The longest content of a line, in bytes, by what it holds. */
const MAX_NUMBER_LINE = 64
const MAX_DOUBLE_LINE = 326
const MAX_TEXT_LINE = 64 * 1024

/** The longest content of a line of this kind. */
export const maxLine = (kind: number): number => {
  if (kind === SimpleString || kind === SimpleError) return MAX_TEXT_LINE
  return kind === Double ? MAX_DOUBLE_LINE : MAX_NUMBER_LINE
}

/** How well a line fits the grammar of its kind: see `respLine.ts`. */
export const fitOf = (kind: number, text: string): number => {
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

/** The name of the content of such a line. */
export const describeKind = (kind: number): string => {
  switch (kind) {
    case Integer:
      return "an integer"
    case Double:
      return "a double"
    case BooleanType:
      return 'a boolean ("t" or "f")'
    case BigNumber:
      return "a big number"
    case Null:
    case StreamEnd:
      return "CR LF"
    default:
      return "a length"
  }
}

/** A byte as people read it. */
export const describe = (byte: number): string => {
  if (byte === CR || byte === LF || (byte > 0x20 && byte < 0x7f)) return JSON.stringify(String.fromCharCode(byte))
  return `the byte 0x${byte.toString(16).padStart(2, "0")}`
}

/** The protocol of a stream that begins with this byte, as a guess. */
export const foreignPeer = (byte: number): string => {
  if (byte === 0x48) return "The peer may speak HTTP: is this the address of a Redis server?"
  if (byte === 0x15 || byte === 0x16) return "The peer may speak TLS: use rediss://, or the port without TLS"
  return "Is this the address of a Redis server?"
}

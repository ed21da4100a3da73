/**
 * A hash of keys, for choosing a member: FNV-1a over the bytes that are sent, with a finish that spreads the low bits.
 *
 * @internal
 */
import type * as Resp from "@relive/core/Resp"

const OFFSET = 0x811c9dc5
const PRIME = 0x01000193

const ofBytes = (bytes: Uint8Array): number => {
  let code = OFFSET
  for (let i = 0; i < bytes.length; i++) code = Math.imul(code ^ (bytes[i] ?? 0), PRIME)
  return code
}

const utf8 = new TextEncoder()

const ofText = (text: string): number => {
  let code = OFFSET
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    // The same key given as text and as bytes has to be the same.
    if (unit > 127) return ofBytes(utf8.encode(text))
    code = Math.imul(code ^ unit, PRIME)
  }
  return code
}

/** The finish of MurmurHash3. */
const mix = (code: number): number => {
  let mixed = code
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

/** An unsigned 32-bit number, equal for equal keys. */
export const hash = (key: Resp.Argument): number => {
  if (typeof key === "string") return mix(ofText(key))
  return mix(typeof key === "object" ? ofBytes(key) : ofText(String(key)))
}

/** Another number for the same key, independent of the first one. */
export const secondHash = (code: number): number => mix(code ^ 0x9e3779b9)

/**
 * The hash slot of a key: CRC16 (XMODEM, polynomial 0x1021) of its hash tag, or of all of it, modulo 16 384.
 *
 * The hash tag is what stands between the first `{` and the first `}` after it, if that is at least one byte. Text is hashed
 * as its UTF-8; text of ASCII alone, which most keys are, without encoding it.
 *
 * Follows the "Key distribution model" of the Redis Cluster specification.
 *
 * @internal
 */
import type { Argument } from "@relive/core/Resp"

/** The number of hash slots of a cluster. */
export const SLOTS = 16_384

const OPEN = 0x7b
const CLOSE = 0x7d

const table: Uint16Array = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
  return crc & 0xffff
})

/** The checksum with one byte more. The index is always in the table. */
const step = (crc: number, byte: number): number => ((crc << 8) & 0xffff) ^ (table[((crc >> 8) ^ byte) & 0xff] ?? 0)

/** CRC16 of these bytes, from `start` to before `end`. */
export const crc16 = (bytes: Uint8Array, start = 0, end = bytes.length): number => {
  let crc = 0
  for (let i = start; i < end; i++) crc = step(crc, bytes[i] ?? 0)
  return crc
}

const bytesSlot = (key: Uint8Array): number => {
  const open = key.indexOf(OPEN)
  const close = open < 0 ? -1 : key.indexOf(CLOSE, open + 1)
  return (close > open + 1 ? crc16(key, open + 1, close) : crc16(key)) & (SLOTS - 1)
}

const encoder = new TextEncoder()

const textSlot = (key: string): number => {
  let start = 0
  let end = key.length
  const open = key.indexOf("{")
  if (open >= 0) {
    const close = key.indexOf("}", open + 1)
    if (close > open + 1) {
      start = open + 1
      end = close
    }
  }
  let crc = 0
  for (let i = start; i < end; i++) {
    const unit = key.charCodeAt(i)
    if (unit > 0x7f) return crc16(encoder.encode(key.slice(start, end))) & (SLOTS - 1)
    crc = step(crc, unit)
  }
  return crc & (SLOTS - 1)
}

/** The slot of a key: a number from 0 to 16 383. Numbers are hashed as the text that is sent for them. */
export const slotOf = (key: Argument): number => {
  if (typeof key === "string") return textSlot(key)
  return key instanceof Uint8Array ? bytesSlot(key) : textSlot(numberText(key))
}

/** As the encoder of commands writes numbers. */
const numberText = (value: number | bigint): string => {
  if (value === Infinity) return "inf"
  return value === -Infinity ? "-inf" : String(value)
}

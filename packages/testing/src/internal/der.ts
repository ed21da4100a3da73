/**
 * The few DER encoders (ITU-T X.690) that a certificate needs. `node:crypto` signs and exports keys but cannot build an
 * X.509 certificate, and a test package should not depend on an `openssl` program being there.
 *
 * @internal
 */

const encodeLength = (length: number): Buffer => {
  if (length < 0x80) return Buffer.from([length])
  const bytes: Array<number> = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return Buffer.from([0x80 | bytes.length, ...bytes])
}

/** One element: tag, length, contents. */
export const element = (tag: number, ...contents: ReadonlyArray<Uint8Array>): Buffer => {
  const body = Buffer.concat(contents)
  return Buffer.concat([Buffer.from([tag]), encodeLength(body.length), body])
}

export const sequence = (...items: ReadonlyArray<Uint8Array>): Buffer => element(0x30, ...items)
export const set = (...items: ReadonlyArray<Uint8Array>): Buffer => element(0x31, ...items)
export const octetString = (bytes: Uint8Array): Buffer => element(0x04, bytes)
export const utf8String = (text: string): Buffer => element(0x0c, Buffer.from(text))
export const utcTime = (text: string): Buffer => element(0x17, Buffer.from(text, "latin1"))
export const boolean = (value: boolean): Buffer => element(0x01, Buffer.from([value ? 0xff : 0]))

/** Contents of a bit string whose last byte has `unused` bits to ignore. */
export const bitString = (bytes: Uint8Array, unused = 0): Buffer => element(0x03, Buffer.from([unused]), bytes)

/** A non-negative integer from its big-endian bytes. */
export const unsignedInteger = (bytes: Uint8Array): Buffer => {
  const first = bytes.findIndex((byte) => byte !== 0)
  const trimmed = first === -1 ? Buffer.from([0]) : bytes.subarray(first)
  const highBit = ((trimmed[0] ?? 0) & 0x80) !== 0
  return element(0x02, highBit ? Buffer.from([0]) : Buffer.alloc(0), trimmed)
}

/** Context-specific, constructed: `[n] EXPLICIT`. */
export const explicit = (n: number, ...items: ReadonlyArray<Uint8Array>): Buffer => element(0xa0 | n, ...items)

/** Context-specific, primitive: `[n] IMPLICIT`. */
export const implicit = (n: number, bytes: Uint8Array): Buffer => element(0x80 | n, bytes)

const base128 = (value: number): Array<number> => {
  const bytes = [value & 0x7f]
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80)
  return bytes
}

/** An object identifier from its dotted form. */
export const objectIdentifier = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number)
  return element(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

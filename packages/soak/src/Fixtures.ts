/** Values that are there all the while: a reader knows what the reply must be. */

export interface Fixture {
  readonly key: string
  readonly value: Uint8Array
  /** The value as text, if it is UTF-8. */
  readonly text: string | undefined
}

const fixture = (key: string, value: string | Uint8Array): Fixture =>
  typeof value === "string"
    ? { key, value: new TextEncoder().encode(value), text: value }
    : { key, value, text: undefined }

const everyByte = Uint8Array.from({ length: 1_024 }, (_, index) => index & 0xff)

export const texts: readonly [Fixture, ...ReadonlyArray<Fixture>] = [
  fixture("fixture:empty", ""),
  fixture("fixture:short", "short"),
  fixture("fixture:resp", "$-1\r\n*1\r\n+OK\r\n-ERR no\r\n"),
  fixture("fixture:unicode", "ä€漢😀".repeat(50)),
  fixture("fixture:long", "0123456789".repeat(400)),
  fixture("fixture:large", "abcdefghijklmnop".repeat(2_500))
]

/** Values that are no text have to be read as bytes. */
export const bytes: readonly [Fixture, ...ReadonlyArray<Fixture>] = [...texts, fixture("fixture:binary", everyByte)]

/** A list, so that commands for other types fail on it. */
export const list = "fixture:list"

/** Writes them all. */
export const commands: ReadonlyArray<ReadonlyArray<string | Uint8Array>> = [
  ...bytes.map(({ key, value }) => ["SET", key, value]),
  ["RPUSH", list, "one"]
]

export const sameBytes = (found: unknown, expected: Uint8Array): boolean =>
  found instanceof Uint8Array && Buffer.compare(found, expected) === 0

/** A value in a message, cut. */
export const show = (value: unknown): string => {
  const text = value instanceof Uint8Array ? `bytes ${Buffer.from(value).toString("latin1")}` : String(value)
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}

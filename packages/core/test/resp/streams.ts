/**
 * Generated reply streams for property tests: random nodes, their bytes, and what a decoder must make of them. The bytes and
 * the expectations are written from the protocol's description, and share nothing with the decoder.
 */
import * as Resp from "@relive/core/Resp"
import { isUtf8 } from "node:buffer"
import { decodedReplyOf } from "../respMapping.ts"

/** Numbers that look random and are the same for the same seed (mulberry32). */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0
  }

  /** From 0 up to but not including 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let x = this.state
    x = Math.imul(x ^ (x >>> 15), x | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }

  /** An integer from `low` to `high`. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<A>(items: ReadonlyArray<A>): A {
    return items[this.int(0, items.length - 1)]
  }
}

/** A value on the wire. `wire` are its bytes, `frame` what it is in text or bytes mode. */
export interface Node {
  readonly wire: Uint8Array
  readonly frame: (bytes: boolean) => Resp.Frame
  /** In text mode: can it be text, seen without and with its attributes? */
  readonly isText: boolean
  readonly attributesAreText: boolean
}

const concat = (...parts: ReadonlyArray<string | Uint8Array>): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)))

const leaf = (wire: string, frame: Resp.Frame): Node => ({
  wire: Buffer.from(wire),
  frame: () => frame,
  isText: true,
  attributesAreText: true
})

const texts = [
  "",
  "OK",
  "a",
  "foo bar",
  "føø",
  "日本語",
  "𝄞",
  "\uFFFD",
  "\r\n",
  "$5\r\nhello\r\n",
  "x".repeat(300),
  "é".repeat(600)
]

/** Contents of a string: mostly short and ASCII, as in life; sometimes not UTF-8; sometimes long. */
const content = (random: Random): Uint8Array => {
  const choice = random.next()
  if (choice < 0.5) return Buffer.from("abcdefghijklmnopqrstuvwxyz".slice(0, random.int(0, 26)))
  if (choice < 0.8) return Buffer.from(random.pick(texts))
  if (choice < 0.86) return Buffer.from(Array.from({ length: random.int(1, 40) }, () => random.int(0, 255)))
  if (choice < 0.9) return Buffer.from([0xc3]) // a cut character
  if (choice < 0.98) return Buffer.from("long ".repeat(random.int(100, 1200)))
  return Buffer.from((random.chance(0.5) ? "x" : "ß").repeat(random.int(17_000, 90_000)))
}

const line = (random: Random): string =>
  random.pick(["OK", "QUEUED", "", "PONG", "a b  c", "føø", "s".repeat(random.int(0, 200)), "ERR no"])

const doubles: ReadonlyArray<readonly [string, number]> = [
  ["inf", Infinity],
  ["-inf", -Infinity],
  ["nan", NaN],
  ["-nan", NaN],
  ["0", 0],
  ["-0", -0],
  ["10", 10],
  ["+10", 10],
  ["2.5e-3", 0.0025],
  ["-0.5", -0.5],
  ["0.10000000000000001", 0.1],
  ["123456789012345.6", 123456789012345.6],
  ["5e-324", 5e-324],
  ["1.7976931348623157e+308", Number.MAX_VALUE],
  ["1E5", 100000],
  ["00012.50", 12.5]
]

const scalar = (random: Random): Node => {
  switch (random.int(0, 8)) {
    case 0: {
      const text = line(random)
      return leaf(`+${text}\r\n`, { _tag: "SimpleString", value: text })
    }
    case 1: {
      const text = line(random)
      return leaf(`-${text}\r\n`, { _tag: "SimpleError", value: text })
    }
    case 2: {
      const value = random.int(-1000, 1000)
      const sign = value >= 0 && random.chance(0.2) ? "+" : ""
      return leaf(`:${sign}${value}\r\n`, { _tag: "Integer", value })
    }
    case 3: {
      const value = BigInt.asIntN(64, (BigInt(random.int(0, 2 ** 32)) << 32n) + BigInt(random.int(0, 2 ** 32)))
      const safe = value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER)
      return leaf(`:${value}\r\n`, { _tag: "Integer", value: safe ? Number(value) : value })
    }
    case 4: {
      const form = random.pick(["null", "bulk", "array"] as const)
      return leaf({ null: "_\r\n", bulk: "$-1\r\n", array: "*-1\r\n" }[form], { _tag: "Null", form })
    }
    case 5: {
      const [text, value] = random.pick(doubles)
      return leaf(`,${text}\r\n`, { _tag: "Double", value })
    }
    case 6: {
      const value = random.chance(0.5)
      return leaf(value ? "#t\r\n" : "#f\r\n", { _tag: "Boolean", value })
    }
    case 7: {
      const digits = String(random.int(1, 9)).repeat(random.int(1, 60))
      const sign = random.pick(["", "-", "+"])
      return leaf(`(${sign}${digits}\r\n`, {
        _tag: "BigNumber",
        value: sign === "-" ? -BigInt(digits) : BigInt(digits)
      })
    }
    default: {
      const data = content(random)
      const wire = concat(`!${data.length}\r\n`, data, "\r\n")
      const value = Buffer.from(data).toString("utf8")
      return { wire, frame: () => ({ _tag: "BlobError", value }), isText: true, attributesAreText: true }
    }
  }
}

const textOrBytes = (data: Uint8Array, bytes: boolean): string | Uint8Array =>
  bytes ? new Uint8Array(data) : Buffer.from(data).toString("utf8")

/** Bulk, verbatim and streamed strings. */
const string = (random: Random): Node => {
  const data = content(random)
  const isText = isUtf8(data)
  const choice = random.next()
  if (choice < 0.7) {
    const wire = concat(`$${data.length}\r\n`, data, "\r\n")
    const frame = (bytes: boolean): Resp.Frame => ({
      _tag: "BulkString",
      value: textOrBytes(data, bytes),
      streamed: false
    })
    return { wire, frame, isText, attributesAreText: true }
  }
  if (choice < 0.85) {
    const format = random.pick(["txt", "mkd"])
    const wire = concat(`=${data.length + 4}\r\n${format}:`, data, "\r\n")
    const frame = (bytes: boolean): Resp.Frame => ({ _tag: "VerbatimString", format, value: textOrBytes(data, bytes) })
    return { wire, frame, isText, attributesAreText: true }
  }
  const parts: Array<string | Uint8Array> = ["$?\r\n"]
  for (let at = 0; at < data.length;) {
    const to = Math.min(data.length, at + random.int(1, Math.max(1, data.length)))
    parts.push(`;${to - at}\r\n`, data.subarray(at, to), "\r\n")
    at = to
  }
  const frame = (bytes: boolean): Resp.Frame => ({
    _tag: "BulkString",
    value: textOrBytes(data, bytes),
    streamed: true
  })
  return { wire: concat(...parts, ";0\r\n"), frame, isText, attributesAreText: true }
}

const pairsOf = <A>(items: ReadonlyArray<A>): Array<readonly [A, A]> =>
  Array.from({ length: items.length / 2 }, (_, index) => [items[index * 2], items[index * 2 + 1]] as const)

const aggregate = (random: Random, depth: number): Node => {
  const kind = random.pick(["*", "*", "%", "~"] as const)
  const streamed = random.chance(0.25)
  const count = random.chance(0.05) ? random.int(50, 200) : random.int(0, 5)
  const size = kind === "%" ? count * 2 : count
  const items = Array.from({ length: size }, () => node(random, size > 10 ? 0 : depth - 1))
  const head = streamed ? `${kind}?\r\n` : `${kind}${count}\r\n`
  const wire = concat(head, ...items.map((item) => item.wire), streamed ? ".\r\n" : "")
  const frame = (bytes: boolean): Resp.Frame => {
    const frames = items.map((item) => item.frame(bytes))
    if (kind === "%") return { _tag: "Map", pairs: pairsOf(frames), streamed }
    return { _tag: kind === "*" ? "Array" : "Set", items: frames, streamed }
  }
  return {
    wire,
    frame,
    isText: items.every((item) => item.isText),
    attributesAreText: items.every((item) => item.attributesAreText)
  }
}

/** The value with an attribute, or two, before it. */
const described = (random: Random, value: Node): Node => {
  const heads: Array<Uint8Array> = []
  const nodes: Array<Node> = []
  for (let more = random.int(1, 2); more > 0; more--) {
    const count = random.int(0, 2)
    const items = Array.from({ length: count * 2 }, () => node(random, 1))
    heads.push(concat(`|${count}\r\n`, ...items.map((item) => item.wire)))
    nodes.push(...items)
  }
  return {
    wire: concat(...heads, value.wire),
    frame: (bytes) => ({ ...value.frame(bytes), attributes: pairsOf(nodes.map((item) => item.frame(bytes))) }),
    isText: value.isText,
    attributesAreText: value.attributesAreText && nodes.every((item) => item.isText && item.attributesAreText)
  }
}

const node = (random: Random, depth: number): Node => {
  const choice = random.next()
  const value = depth > 0 && choice < 0.35 ? aggregate(random, depth) : choice < 0.7 ? string(random) : scalar(random)
  return depth > 0 && random.chance(0.06) ? described(random, value) : value
}

/** One thing in a stream: a reply, or a push. */
export interface Item {
  readonly wire: Uint8Array
  readonly frame: (bytes: boolean) => Resp.Decoded<Resp.Frame>
  readonly reply: (bytes: boolean) => Resp.Decoded<Resp.Reply>
  readonly isPush: boolean
}

const failure = new Resp.ReplyFailure(
  new Resp.DecodeError("utf8", 'A string of the reply is not UTF-8: use decode: "bytes"')
)

const replyItem = (value: Node): Item => ({
  wire: value.wire,
  frame: (bytes) => (bytes || (value.isText && value.attributesAreText) ? value.frame(bytes) : failure),
  reply: (bytes) => (bytes || value.isText ? decodedReplyOf(value.frame(bytes), bytes) : failure),
  isPush: false
})

/** Pushes are made of sound text, as what is not text in them has a test of its own. */
const pushItem = (random: Random): Item => {
  const items: Array<Node> = []
  while (items.length < 3) {
    const value = node(random, 1)
    if (value.isText && value.attributesAreText) items.push(value)
  }
  const push = (bytes: boolean): Resp.Push<Resp.Frame> =>
    new Resp.Push(
      items.map((item) => item.frame(bytes)),
      undefined
    )
  return {
    wire: concat(">3\r\n", ...items.map((item) => item.wire)),
    frame: push,
    reply: (bytes) => decodedReplyOf(push(bytes), bytes),
    isPush: true
  }
}

/** A stream of replies and pushes. */
export const stream = (random: Random): ReadonlyArray<Item> =>
  Array.from({ length: random.int(1, 12) }, () =>
    random.chance(0.15) ? pushItem(random) : replyItem(node(random, random.int(0, 4)))
  )

/** The bytes cut into chunks: some of one byte, some small, some large. */
export const chunked = (random: Random, bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  const typical = random.pick([1, 3, 20, 500, 20_000, 65_536, bytes.length])
  for (let at = 0; at < bytes.length;) {
    const size = random.chance(0.1) ? random.int(1, 4) : random.int(1, Math.max(1, typical * 2))
    chunks.push(Uint8Array.prototype.slice.call(bytes, at, at + size))
    at += size
  }
  return chunks
}

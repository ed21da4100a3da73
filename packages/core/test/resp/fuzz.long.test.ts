/**
 * Any bytes at all, for half a minute: streams by the grammar, whole and with their bytes changed. Whatever a decoder makes of
 * them, values, failures and where it stops, is the same however they are cut; and it never throws. Each failure names its seed:
 * `RELIVE_FUZZ_SEED` starts there, `RELIVE_FUZZ_SECONDS` says for how long.
 */
import * as Resp from "@relive/core/Resp"
import { assert, describe, it } from "@effect/vitest"
import { alike, shown } from "../respMapping.ts"
import { chunked, Random } from "./streams.ts"

const seconds = Number(process.env.RELIVE_FUZZ_SECONDS ?? "30")
const firstSeed = Number(process.env.RELIVE_FUZZ_SEED ?? String(Math.floor(Math.random() * 2 ** 31)))

/** What is likely to change the meaning of what is around it. */
const tokens = [
  ..."+-:$*%~>|#_,(!=;.?",
  ..."0123456789tf\r\n",
  "\r\n",
  "-1",
  "$-1\r\n",
  "*0\r\n",
  "*?\r\n",
  "%?\r\n",
  "$?\r\n",
  ";0\r\n",
  ".\r\n",
  "|1\r\n+k\r\n+v\r\n",
  "|1\r\n+k\r\n$2\r\nOK\r\n",
  ">1\r\n+p\r\n",
  "=6\r\ntxt:OK\r\n",
  "999999999999999999999",
  "0".repeat(70),
  "9".repeat(330),
  "4294967296",
  "\xff\xfe",
  "inf",
  "-nan"
].map((token) => Buffer.from(token, "latin1"))

const short = (random: Random): string =>
  random.pick(["", "a", "OK", "abc", "twelve bytes", "\r\n", "+OK\r\n", "\xc3\xa9", "\xff", "x".repeat(40)])

const times = (count: number, make: () => string): string => Array.from({ length: count }, make).join("")

/** A reply or a push, perhaps with attributes: short, so that many are tried. */
const sentence = (random: Random, depth: number): string => {
  const value = () => sentence(random, depth - 1)
  const attributes = random.chance(0.1) ? `|1\r\n${depth > 0 ? value() + value() : "+k\r\n+v\r\n"}` : ""
  if (depth === 3 && random.chance(0.1)) {
    const count = random.int(1, 3)
    return `${attributes}>${count}\r\n${times(count, value)}`
  }
  return attributes + (depth > 0 && random.chance(0.5) ? aggregate(random, value) : scalar(random))
}

const aggregate = (random: Random, value: () => string): string => {
  const count = random.int(0, 4)
  switch (random.int(0, 5)) {
    case 0:
      return `%${count}\r\n${times(2 * count, value)}`
    case 1:
      return `~${count}\r\n${times(count, value)}`
    case 2:
      return `${random.pick(["*", "~"])}?\r\n${times(count, value)}.\r\n`
    case 3:
      return `%?\r\n${times(2 * count, value)}.\r\n`
    default:
      return `*${count}\r\n${times(count, value)}`
  }
}

const scalar = (random: Random): string => {
  const text = short(random)
  switch (random.int(0, 11)) {
    case 0:
      return `:${random.pick(["0", "-1", "+7", "123456789012", "-9223372036854775808"])}\r\n`
    case 1:
      return `+${text.replace(/[\r\n]/g, "")}\r\n`
    case 2:
      return `-ERR ${text.replace(/[\r\n]/g, "")}\r\n`
    case 3:
      return `,${random.pick(["1", "1.5", "-0", "inf", "-inf", "nan", "1e300", ".5"])}\r\n`
    case 4:
      return `(${random.pick(["1", "-2", "1".repeat(25), "+3"])}\r\n`
    case 5:
      return random.pick(["_\r\n", "#t\r\n", "#f\r\n", "$-1\r\n", "*-1\r\n"])
    case 6:
      return `=${text.length + 4}\r\ntxt:${text}\r\n`
    case 7:
      return `!${text.length}\r\n${text}\r\n`
    case 8:
      return `$?\r\n${times(random.int(0, 2), () => `;${text.length || 1}\r\n${text || "z"}\r\n`)};0\r\n`
    default:
      return `$${text.length}\r\n${text}\r\n`
  }
}

const mutated = (random: Random, wire: Uint8Array): Uint8Array => {
  let bytes = Buffer.from(wire)
  const changes = random.int(1, 4)
  for (let i = 0; i < changes; i++) {
    const at = random.int(0, bytes.length)
    const to = Math.min(bytes.length, at + random.int(0, 8))
    const kind = random.int(0, 4)
    if (kind === 0 && at < bytes.length) bytes[at] = random.int(0, 255)
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), random.pick(tokens), bytes.subarray(at)])
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), random.pick(tokens), bytes.subarray(to)])
    else if (kind === 3) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)])
    else bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)])
  }
  return bytes
}

const limitsOf = (random: Random): Partial<Resp.Limits> =>
  random.chance(0.5)
    ? {}
    : {
        maxDepth: random.int(1, 6),
        maxElements: random.int(0, 20),
        maxBulkBytes: random.int(0, 40),
        maxReplyBytes: random.int(1, 120),
        maxBigNumberDigits: random.int(1, 30)
      }

/** All that can be seen of a decoder. */
const outcomeOf = <A>(
  decoder: Resp.Decoder<A>,
  chunks: ReadonlyArray<Uint8Array>,
  modes: number,
  abandons: (reply: number) => boolean
): ReadonlyArray<unknown> => {
  const out: Array<Resp.Decoded<A>> = []
  if (modes !== 0) decoder.nextBytes = (reply) => ((modes >> (reply % 8)) & 1) === 1
  const memory = new Uint8Array(chunks.reduce((size, chunk) => Math.max(size, chunk.length), 0))
  for (const chunk of chunks) {
    const used = memory.subarray(0, chunk.length)
    used.set(chunk)
    decoder.push(used, out)
    used.fill(0x24)
    if (decoder.inReply && abandons(decoder.replies)) decoder.abandon()
  }
  const end = decoder.ended()
  return [...out, end === undefined ? "whole" : [end.expected, end.found, end.offset, end.truncated]]
}

const never = () => false

describe("any bytes in any chunks", () => {
  it(`come to the same (seed ${firstSeed})`, { timeout: (seconds + 30) * 1000 }, () => {
    process.stderr.write(`fuzz: seeds from ${firstSeed} on, for ${seconds} s\n`)
    const until = performance.now() + seconds * 1000
    let seed = firstSeed
    for (; performance.now() < until; seed++) {
      const random = new Random(seed)
      const wire = Buffer.from(Array.from({ length: random.int(1, 6) }, () => sentence(random, 3)).join(""), "latin1")
      const bytes = random.chance(0.3) ? wire : mutated(random, wire)
      const options = {
        limits: limitsOf(random),
        decode: random.pick(["text", "bytes"] as const),
        volatile: true
      }
      const modes = random.chance(0.5) ? 0 : random.int(1, 255)
      const makes: ReadonlyArray<(chunks: ReadonlyArray<Uint8Array>) => ReadonlyArray<unknown>> = [
        (chunks) => outcomeOf(Resp.makeDecoder(options), chunks, modes, never),
        (chunks) => outcomeOf(Resp.makeFrameDecoder(options), chunks, modes, never)
      ]
      const single = Array.from(bytes, (byte) => Uint8Array.of(byte))
      const cut = chunked(random, bytes)
      for (const [index, make] of makes.entries()) {
        const whole = make([bytes])
        for (const chunks of [cut, single]) {
          const other = make(chunks)
          if (alike(whole, other)) continue
          assert.fail(
            `seed ${seed}, ${index === 0 ? "replies" : "frames"}, ${JSON.stringify({ ...options, modes })}, ${JSON.stringify(Buffer.from(bytes).toString("latin1"))}:\n  whole  ${shown(whole).slice(0, 2000)}\n  in ${chunks.length} ${shown(other).slice(0, 2000)}`
          )
        }
      }
      // A reply that is given up takes no other with it.
      const kept = outcomeOf(Resp.makeDecoder(options), single, modes, never)
      const given = outcomeOf(Resp.makeDecoder(options), single, modes, (reply) => reply % 2 === 1)
      let replies = 0
      const masked = (all: ReadonlyArray<unknown>) => {
        replies = 0
        return all.map((value) => {
          if (value instanceof Resp.Push) return "push"
          return replies++ % 2 === 1 ? "odd" : value
        })
      }
      if (!alike(masked(kept), masked(given))) {
        assert.fail(
          `seed ${seed}, given up, ${JSON.stringify({ ...options, modes })}, ${JSON.stringify(Buffer.from(bytes).toString("latin1"))}:\n  kept  ${shown(kept).slice(0, 2000)}\n  given ${shown(given).slice(0, 2000)}`
        )
      }
    }
    process.stderr.write(`fuzz: ${seed - firstSeed} streams\n`)
  })
})

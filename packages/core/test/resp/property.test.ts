/**
 * Any stream of replies, cut in any way, decodes to the same values, with both builders, in both modes, and when the memory
 * of chunks is used again. A failure names the seed; `RELIVE_RESP_SEED` starts there.
 */
import * as Resp from "@relive/core/Resp"
import { assert, describe, it } from "@effect/vitest"
import { alike, shown } from "../respMapping.ts"
import { chunked, type Item, Random, stream } from "./streams.ts"

const firstSeed = Number(process.env.RELIVE_RESP_SEED ?? "1")
const rounds = Number(process.env.RELIVE_RESP_ROUNDS ?? "100")

const bytesOf = (items: ReadonlyArray<Item>): Uint8Array => Buffer.concat(items.map((item) => item.wire))

/** Pushes the chunks; in volatile mode through one piece of memory, which is overwritten after each. */
const run = <A>(decoder: Resp.Decoder<A>, chunks: ReadonlyArray<Uint8Array>, volatile: boolean) => {
  const out: Array<Resp.Decoded<A>> = []
  const memory = new Uint8Array(chunks.reduce((size, chunk) => Math.max(size, chunk.length), 0))
  for (const chunk of chunks) {
    const used = volatile ? memory.subarray(0, chunk.length) : chunk
    used.set(chunk)
    const error = decoder.push(used, out)
    if (volatile) used.fill(0x41)
    if (error !== undefined) throw error
  }
  assert.isTrue(decoder.idle)
  assert.isUndefined(decoder.ended())
  return out
}

const same = (seed: number, what: string, actual: unknown, expected: unknown): void => {
  if (alike(actual, expected)) return
  const [left, right] = [shown(actual), shown(expected)]
  assert.fail(`seed ${seed}, ${what}:\n  got      ${left.slice(0, 3000)}\n  expected ${right.slice(0, 3000)}`)
}

const eachStream = (
  check: (seed: number, random: Random, items: ReadonlyArray<Item>, bytes: Uint8Array) => void
): void => {
  for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
    const random = new Random(seed)
    const items = stream(random)
    check(seed, random, items, bytesOf(items))
  }
}

describe("any stream in any chunks", () => {
  for (const decode of ["text", "bytes"] as const) {
    for (const volatile of [false, true]) {
      it(`gives the same frames and replies as ${decode}${volatile ? ", from memory that is used again" : ""}`, () => {
        const bytes = decode === "bytes"
        eachStream((seed, random, items, wire) => {
          const chunks = chunked(random, wire)
          const frames = run(Resp.makeFrameDecoder({ decode, volatile }), chunks, volatile)
          same(
            seed,
            "frames",
            frames,
            items.map((item) => item.frame(bytes))
          )
          const replies = run(Resp.makeDecoder({ decode, volatile }), chunks, volatile)
          same(
            seed,
            "replies",
            replies,
            items.map((item) => item.reply(bytes))
          )
        })
      })
    }
  }

  it("decodes each reply in the mode that is asked for it", () => {
    eachStream((seed, random, items, wire) => {
      const modes = items.filter((item) => !item.isPush).map(() => random.chance(0.5))
      const decoder = Resp.makeDecoder()
      const asked: Array<number> = []
      decoder.nextBytes = (reply) => {
        asked.push(reply)
        return modes[reply]
      }
      const out = run(decoder, chunked(random, wire), false)
      let reply = 0
      same(
        seed,
        "replies",
        out,
        items.map((item) => item.reply(item.isPush ? false : modes[reply++]))
      )
      assert.deepStrictEqual(
        asked,
        [...new Set(asked)].sort((a, b) => a - b),
        `seed ${seed}: asked once, in order`
      )
    })
  })

  it("ends at a wrong byte with the replies before it delivered", () => {
    eachStream((seed, random, items, wire) => {
      const decoder = Resp.makeDecoder()
      const out: Array<Resp.Decoded<Resp.Reply>> = []
      let error: Resp.ProtocolError | undefined
      for (const chunk of chunked(random, Buffer.concat([wire, Buffer.from("@"), wire])))
        error = decoder.push(chunk, out)
      same(
        seed,
        "replies",
        out,
        items.map((item) => item.reply(false))
      )
      assert.strictEqual(error?.offset, wire.length, `seed ${seed}`)
      assert.strictEqual(error?.found, '"@"', `seed ${seed}`)
    })
  })

  it("survives any damage: a protocol error or other replies, never a defect", () => {
    eachStream((seed, random, _items, wire) => {
      const damaged = Uint8Array.from(wire)
      for (let times = random.int(1, 3); times > 0; times--)
        damaged[random.int(0, damaged.length - 1)] = random.int(0, 255)
      const chunks = chunked(random, damaged)
      const whole: Array<Resp.Decoded<Resp.Frame>> = []
      const cut: Array<Resp.Decoded<Resp.Frame>> = []
      const one = Resp.makeFrameDecoder()
      const other = Resp.makeFrameDecoder()
      one.push(damaged, whole)
      for (const chunk of chunks) other.push(chunk, cut)
      same(seed, "frames", cut, whole)
      same(seed, "errors", other.error?.message, one.error?.message)
      assert.strictEqual(one.idle, other.idle, `seed ${seed}`)
    })
  })
})

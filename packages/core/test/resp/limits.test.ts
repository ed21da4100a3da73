/**
 * A well-formed reply over a limit is passed to its end, whatever is in it, and fails its own slot only.
 */
import * as Resp from "@relive/core/Resp"
import { assert, describe, it, vi } from "@effect/vitest"
import { shown } from "../respMapping.ts"
import { Random } from "./streams.ts"

const limits: Resp.Limits = {
  maxDepth: 3,
  maxElements: 4,
  maxBulkBytes: 9,
  maxReplyBytes: 2 ** 30,
  maxBigNumberDigits: 5
}

const bytewise = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => Array.from(bytes, (byte) => Uint8Array.of(byte))

/** A decoder and what it put out, whatever it builds. */
interface Session {
  readonly out: ReadonlyArray<unknown>
  readonly push: (chunk: Uint8Array) => void
  readonly error: () => Resp.ProtocolError | undefined
  readonly idle: () => boolean
}

const session = <A>(decoder: Resp.Decoder<A>): Session => {
  const out: Array<Resp.Decoded<A>> = []
  return {
    out,
    push: (chunk: Uint8Array) => decoder.push(chunk, out),
    error: () => decoder.error,
    idle: () => decoder.idle
  }
}

const decoders: ReadonlyArray<readonly [string, () => Session]> = [
  ["frames", () => session(Resp.makeFrameDecoder({ limits }))],
  ["replies", () => session(Resp.makeDecoder({ limits }))],
  ["replies as bytes", () => session(Resp.makeDecoder({ limits, decode: "bytes" }))]
]

const feed = (decoder: Session, chunks: ReadonlyArray<Uint8Array>): ReadonlyArray<unknown> => {
  for (const chunk of chunks) decoder.push(chunk)
  assert.isUndefined(decoder.error()?.message)
  assert.isTrue(decoder.idle())
  return decoder.out
}

const limitOf = (decoded: unknown): string => {
  const failure =
    decoded instanceof Resp.ReplyFailure ? decoded.error : decoded instanceof Resp.Push ? decoded.failure : undefined
  return failure instanceof Resp.ReplyLimitError ? failure.limit : shown(decoded)
}

/** The reply fails with this limit, and the next one is whole. */
const over = (limit: keyof Resp.Limits, wire: string): void => {
  for (const [name, make] of decoders) {
    it(`${limit} fails ${JSON.stringify(wire.slice(0, 70))} (${name})`, () => {
      const bytes = Buffer.from(`:1\r\n${wire}:2\r\n`, "latin1")
      for (const chunks of [[bytes], bytewise(bytes)]) {
        const out = feed(make(), chunks)
        assert.strictEqual(out.length, 3, shown(out))
        assert.strictEqual(limitOf(out[1]), limit)
      }
    })
  }
}

/** The reply is just inside the limits. */
const inside = (wire: string): void => {
  for (const [name, make] of decoders) {
    it(`${JSON.stringify(wire.slice(0, 70))} is inside (${name})`, () => {
      const out = feed(make(), [Buffer.from(wire)])
      assert.strictEqual(out.length, 1)
      assert.isFalse(out[0] instanceof Resp.ReplyFailure, shown(out))
    })
  }
}

describe("limits", () => {
  inside("*1\r\n*1\r\n*1\r\n:1\r\n")
  over("maxDepth", "*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n")
  over("maxDepth", "*1\r\n*1\r\n*1\r\n*0\r\n")
  over("maxDepth", "*2\r\n*2\r\n*2\r\n*2\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n")
  over("maxDepth", `${"*1\r\n".repeat(100_000)}:1\r\n`)
  over("maxDepth", `${"*?\r\n".repeat(5000)}${".\r\n".repeat(5000)}`)
  over("maxDepth", `${"%1\r\n+k\r\n".repeat(20)}:1\r\n`)
  over("maxDepth", "*1\r\n*1\r\n*1\r\n|1\r\n+k\r\n+v\r\n:1\r\n")
  over("maxDepth", "|1\r\n+k\r\n*1\r\n*1\r\n*1\r\n:1\r\n+value\r\n")
  over("maxDepth", "*?\r\n*?\r\n:1\r\n*?\r\n:2\r\n~?\r\n.\r\n:3\r\n.\r\n:4\r\n.\r\n.\r\n")
  over("maxDepth", "*2\r\n%?\r\n+a\r\n*1\r\n*1\r\n:1\r\n+b\r\n:1\r\n.\r\n:2\r\n")

  inside("*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n")
  inside("%2\r\n:1\r\n:1\r\n:1\r\n:1\r\n")
  inside("*?\r\n:1\r\n:1\r\n:1\r\n:1\r\n.\r\n")
  over("maxElements", "*5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n")
  over("maxElements", "%3\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n")
  over("maxElements", "~5\r\n:1\r\n:1\r\n:1\r\n:1\r\n*?\r\n.\r\n")
  over("maxElements", "*?\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n.\r\n")
  over("maxElements", "*?\r\n:1\r\n:1\r\n:1\r\n:1\r\n*1\r\n:1\r\n*?\r\n:1\r\n.\r\n.\r\n")
  over("maxElements", "%?\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n.\r\n")
  over("maxElements", "*2\r\n*?\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n.\r\n$3\r\nfoo\r\n")
  over("maxElements", "|3\r\n+a\r\n:1\r\n+b\r\n:1\r\n+c\r\n:1\r\n:9\r\n")
  over("maxElements", "*1\r\n|3\r\n+a\r\n:1\r\n+b\r\n:1\r\n+c\r\n:1\r\n:9\r\n")
  over("maxElements", "*?\r\n|3\r\n+a\r\n:1\r\n+b\r\n:1\r\n+c\r\n:1\r\n*1\r\n:9\r\n:8\r\n.\r\n")
  over("maxElements", "*5\r\n|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n:1\r\n%1\r\n+a\r\n+b\r\n_\r\n,1\r\n(1\r\n")

  inside("$9\r\n123456789\r\n")
  over("maxBulkBytes", "$10\r\n0123456789\r\n")
  over("maxBulkBytes", "!10\r\n0123456789\r\n")
  over("maxBulkBytes", "=10\r\ntxt:456789\r\n")
  over("maxBulkBytes", "$10\r\n\r\n\r\n\r\n\r\n\r\n\r\n")
  over("maxBulkBytes", "*2\r\n$10\r\n0123456789\r\n:1\r\n")
  over("maxBulkBytes", "%?\r\n$10\r\n0123456789\r\n:1\r\n.\r\n")
  over("maxBulkBytes", "$?\r\n;5\r\n01234\r\n;5\r\n56789\r\n;0\r\n")
  over("maxBulkBytes", "$?\r\n;10\r\n0123456789\r\n;1\r\n0\r\n;0\r\n")
  over("maxBulkBytes", "*1\r\n$?\r\n;5\r\n01234\r\n;5\r\n56789\r\n;0\r\n")
  over("maxBulkBytes", "|1\r\n$10\r\n0123456789\r\n+v\r\n:1\r\n")
  over("maxBulkBytes", "$10\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\r\n")

  inside("(-12345\r\n")
  over("maxBigNumberDigits", "(123456\r\n")
  over("maxBigNumberDigits", "(-123456\r\n")
  over("maxBigNumberDigits", `(${"1".repeat(100_000)}\r\n`)
  over("maxBigNumberDigits", "*2\r\n(123456\r\n(1\r\n")

  it("keep the grammar while a reply is passed", () => {
    const wires = [
      "*5\r\n:x",
      "*5\r\n:1\r\n>",
      "*5\r\n.",
      "*5\r\n$-2",
      "*5\r\n$3\r\nfoox",
      "*5\r\n=4\r\nabcd",
      "*5\r\n%?\r\n+a\r\n.",
      "*5\r\n*?\r\n|1\r\n+a\r\n+b\r\n.",
      "*5\r\n@",
      "*5\r\n;",
      "*5\r\n#x",
      "*5\r\n(x",
      "(123456x",
      "*5\r\n:9223372036854775808\r\n",
      "|3\r\n+a\r\n:1\r\n+b\r\n:1\r\n+c\r\n:1\r\n*1\r\n>",
      "|3\r\n+a\r\n>"
    ]
    for (const wire of wires) {
      for (const [name, make] of decoders) {
        for (const chunks of [[Buffer.from(wire)], bytewise(Buffer.from(wire))]) {
          const decoder = make()
          for (const chunk of chunks) decoder.push(chunk)
          assert.isDefined(decoder.error(), `${name}: ${JSON.stringify(wire)}`)
          assert.deepStrictEqual(decoder.out, [])
        }
      }
    }
  })

  it("fail a push as a push, so that replies keep their slots", () => {
    for (const wire of [
      ">5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
      ">1\r\n$10\r\n0123456789\r\n",
      ">1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"
    ]) {
      for (const [, make] of decoders) {
        const out = feed(make(), bytewise(Buffer.from(`${wire}:2\r\n`)))
        assert.strictEqual(out.length, 2)
        assert.instanceOf(out[0], Resp.Push)
        assert.match(limitOf(out[0]), /^max/)
      }
    }
  })

  it("fail a push behind an attribute that is too large as a push", () => {
    const wire = "|3\r\n+a\r\n:1\r\n+b\r\n:1\r\n+c\r\n:1\r\n>1\r\n+x\r\n:2\r\n"
    for (const [, make] of decoders) {
      const out = feed(make(), bytewise(Buffer.from(wire)))
      assert.strictEqual(out.length, 2)
      assert.instanceOf(out[0], Resp.Push)
    }
  })

  it("count failed replies, so that each is asked for by its own number", () => {
    const decoder = Resp.makeDecoder({ limits })
    const asked: Array<number> = []
    decoder.nextBytes = (reply) => {
      asked.push(reply)
      return reply === 2
    }
    const out: Array<Resp.Decoded<Resp.Reply>> = []
    decoder.push(Buffer.from("*5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n$1\r\n", "latin1"), out)
    decoder.push(Buffer.from([0xff, 13, 10]), out)
    decoder.push(Buffer.from(">1\r\n+x\r\n$1\r\na\r\n$1\r\nb\r\n"), out)
    assert.deepStrictEqual(asked, [0, 1, 2, 3])
    assert.strictEqual(limitOf(out[0]), "maxElements")
    assert.instanceOf(out[1], Resp.ReplyFailure)
    assert.instanceOf(out[2], Resp.Push)
    assert.strictEqual(shown(out.slice(3)), shown([new Uint8Array([97]), "b"]))
  })

  it("maxReplyBytes counts the whole reply, to the byte, whatever is in it and however it is cut", () => {
    const wires = [
      "*2\r\n$3\r\nabc\r\n:1\r\n",
      "$14\r\nabcdefghijklmn\r\n",
      "*?\r\n+abc\r\n+defgh\r\n.\r\n",
      "+abcdefghijklmnopq\r\n"
    ]
    for (const wire of wires) {
      const bytes = Buffer.from(`:1\r\n${wire}:2\r\n`)
      for (const [max, passes] of [
        [wire.length, true],
        [wire.length - 1, false]
      ] as const) {
        for (const chunks of [[bytes], bytewise(bytes)]) {
          const out = feed(session(Resp.makeDecoder({ limits: { maxReplyBytes: max } })), chunks)
          assert.strictEqual(out.length, 3, shown(out))
          assert.strictEqual(limitOf(out[1]) === "maxReplyBytes", !passes, `${JSON.stringify(wire)} ${max}`)
          assert.strictEqual(out[2], 2)
        }
      }
    }
  })

  it("a reply that nobody waits for is dropped, and the next one is whole", () => {
    const wires = [
      "*3\r\n:1\r\n*?\r\n:1\r\n.\r\n$3\r\nabc\r\n",
      "$10\r\nabcdefghij\r\n",
      "%?\r\n+a\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n"
    ]
    for (const wire of wires) {
      const bytes = Buffer.from(wire)
      for (let cut = 1; cut < bytes.length; cut++) {
        const decoder = Resp.makeDecoder()
        const out: Array<Resp.Decoded<Resp.Reply>> = []
        decoder.push(bytes.subarray(0, cut), out)
        assert.isTrue(decoder.inReply)
        assert.strictEqual(decoder.replies, 0)
        decoder.abandon()
        decoder.push(bytes.subarray(cut), out)
        decoder.push(Buffer.from("+next\r\n"), out)
        assert.instanceOf(out[0], Resp.ReplyFailure)
        assert.deepStrictEqual([out.length, out[1], decoder.replies], [2, "next", 2])
      }
    }
  })

  it("of the defaults are those of the design", () => {
    assert.deepStrictEqual(Resp.defaultLimits, {
      maxDepth: 128,
      maxElements: 67_108_864,
      maxBulkBytes: 536_870_912,
      maxReplyBytes: 1_073_741_824,
      maxBigNumberDigits: 4096
    })
  })
})

describe("what is held while waiting", () => {
  it("does not depend on the number in a header", () => {
    const heads = [
      "$536870912\r\n",
      "*67108864\r\n",
      "%33554432\r\n",
      "~67108864\r\n",
      "$?\r\n;536870912\r\n",
      "=536870912\r\ntxt:"
    ]
    for (const head of heads) {
      const before = process.memoryUsage()
      const kept = Array.from({ length: 100 }, () => {
        const decoder = Resp.makeDecoder()
        decoder.push(
          Buffer.from(`${head}x`.slice(0, head.startsWith("$") || head.startsWith("=") ? undefined : -1)),
          []
        )
        return decoder
      })
      const after = process.memoryUsage()
      assert.isUndefined(kept[0].error?.message)
      assert.isBelow(after.arrayBuffers - before.arrayBuffers, 8_000_000, head)
      assert.isBelow(after.heapUsed - before.heapUsed, 8_000_000, head)
    }
  })

  it("does not grow with what is skipped", () => {
    const decoder = Resp.makeDecoder({ limits: { maxDepth: 4, maxBulkBytes: 10 } })
    const chunk = Buffer.from("*1\r\n".repeat(10_000))
    const before = process.memoryUsage()
    for (let times = 0; times < 200; times++) decoder.push(chunk, [])
    decoder.push(Buffer.from("$1000000000\r\n"), [])
    for (let times = 0; times < 200; times++) decoder.push(chunk, [])
    const after = process.memoryUsage()
    assert.isUndefined(decoder.error?.message)
    assert.isBelow(after.arrayBuffers - before.arrayBuffers, 1_000_000)
    assert.isBelow(after.heapTotal - before.heapTotal, 32_000_000)
  })
})

describe("work", () => {
  /** Feeds one reply in pieces of this size: how many bytes were copied from one array into another. */
  const copiedInPieces = (wire: Uint8Array, size: number): number => {
    let copied = 0
    const original = Uint8Array.prototype.set
    const counting = vi.spyOn(Uint8Array.prototype, "set").mockImplementation(function (this: Uint8Array, from, at) {
      copied += from.length
      original.call(this, from, at)
    })
    const decoder = Resp.makeDecoder()
    const out: Array<Resp.Decoded<Resp.Reply>> = []
    for (let at = 0; at < wire.length; at += size) {
      decoder.push(wire.subarray(at, at + size), out)
      counting.mockClear()
    }
    counting.mockRestore()
    assert.strictEqual(out.length, 1)
    return copied
  }

  const bulk = (length: number): Uint8Array =>
    Buffer.concat([Buffer.from(`$${length}\r\n`), Buffer.alloc(length, 97), Buffer.from("\r\n")])
  const simple = (length: number): Uint8Array => Buffer.from(`+${"x".repeat(length)}\r\n`)

  it("grows with the length of a bulk and not with its square, in chunks of 1 KiB and of one byte", () => {
    for (const [size, length] of [
      [1024, 8_000_000],
      [1, 200_000]
    ] as const) {
      const copied = copiedInPieces(bulk(length), size)
      assert.isAtLeast(copied, length)
      assert.isAtMost(copied, 2 * length, `in pieces of ${size}`)
    }
  })

  it("grows with the length of a line and not with its square, byte by byte", () => {
    for (const length of [8_000, 64_000]) {
      const copied = copiedInPieces(simple(length), 1)
      assert.isAtLeast(copied, length)
      // The line's memory is doubled when it is full.
      assert.isAtMost(copied, 3 * length)
    }
  })
})

describe("random limits", () => {
  it("never put replies out of step", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed)
      const decoder = Resp.makeDecoder({
        limits: { maxDepth: 2, maxElements: 3, maxBulkBytes: 4, maxBigNumberDigits: 3 }
      })
      const wires: Array<string> = []
      for (let index = 0; index < 30; index++) wires.push(value(random, 5), `:${index}\r\n`)
      const out: Array<Resp.Decoded<Resp.Reply>> = []
      const bytes = Buffer.from(wires.join(""))
      for (let at = 0; at < bytes.length;) {
        const size = random.int(1, 40)
        decoder.push(bytes.subarray(at, at + size), out)
        at += size
      }
      assert.isUndefined(decoder.error?.message, `seed ${seed}`)
      assert.strictEqual(out.length, 60, `seed ${seed}`)
      assert.deepStrictEqual(
        out.filter((_, index) => index % 2 === 1),
        Array.from({ length: 30 }, (_, index) => index),
        `seed ${seed}`
      )
    }
  })

  const value = (random: Random, depth: number): string => {
    const attribute = random.chance(0.1) && depth > 0 ? `|1\r\n+k\r\n${value(random, depth - 1)}` : ""
    return attribute + plain(random, depth)
  }

  const plain = (random: Random, depth: number): string => {
    if (depth === 0 || random.chance(0.3))
      return random.pick([
        ":1\r\n",
        "+x\r\n",
        "$2\r\nab\r\n",
        "$5\r\nabcde\r\n",
        "(12345\r\n",
        "_\r\n",
        "$?\r\n;3\r\nabc\r\n;3\r\nabc\r\n;0\r\n",
        "=5\r\ntxt:a\r\n"
      ])
    const kind = random.pick(["*", "%", "~"])
    const count = random.int(0, 3)
    const streamed = random.chance(0.4)
    const items = Array.from({ length: kind === "%" ? count * 2 : count }, () => value(random, depth - 1)).join("")
    return streamed ? `${kind}?\r\n${items}.\r\n` : `${kind}${count}\r\n${items}`
  }
})

/**
 * Commands on the wire: the exact bytes, what is copied when, and what is refused.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import * as Resp from "@relive/core/Resp"
import { RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { submit } from "../behaviours/support.ts"
import { commandNames } from "../../src/internal/commands/names.ts"
import { Batch, Encoder, type Payload } from "../../src/internal/resp/encoder.ts"
import { Heads } from "../../src/internal/resp/heads.ts"
import { Random } from "./streams.ts"

const joined = (chunks: ReadonlyArray<string | Uint8Array>): Buffer =>
  Buffer.concat(chunks.map((chunk) => (typeof chunk === "string" ? Buffer.from(chunk) : chunk)))

const chunksOf = (
  encoded: ReadonlyArray<string | Uint8Array> | Resp.ArgumentFailure
): ReadonlyArray<string | Uint8Array> =>
  encoded instanceof Resp.ArgumentFailure ? assert.fail(encoded.message) : encoded

const payloadOf = (payload: Payload | Resp.ArgumentFailure): Payload =>
  payload instanceof Resp.ArgumentFailure ? assert.fail(payload.message) : payload

const wireOf = (command: Resp.Command): string => joined(chunksOf(Resp.encode(command))).toString("latin1")

/** The same command, encoded in the plainest way. */
const plainly = (command: Resp.Command): Buffer => {
  const args = command.map((argument) =>
    argument instanceof Uint8Array
      ? Buffer.from(argument)
      : Buffer.from(argument === Infinity ? "inf" : argument === -Infinity ? "-inf" : String(argument))
  )
  return Buffer.concat([
    Buffer.from(`*${args.length}\r\n`),
    ...args.flatMap((argument) => [Buffer.from(`$${argument.length}\r\n`), argument, Buffer.from("\r\n")])
  ])
}

describe("a command", () => {
  it("PROTO-002 is an array of bulk strings", () => {
    assert.strictEqual(wireOf(["foo", "bar"]), "*2\r\n$3\r\nfoo\r\n$3\r\nbar\r\n")
  })

  it("PROTO-003 keeps spaces", () => {
    assert.strictEqual(wireOf(["with spaces "]), "*1\r\n$12\r\nwith spaces \r\n")
  })

  it("PROTO-004 counts bytes of UTF-8, not characters", () => {
    assert.strictEqual(wireOf(["føø"]), "*1\r\n$5\r\nf\xc3\xb8\xc3\xb8\r\n")
    assert.strictEqual(wireOf(["日本語日本語"]).slice(0, 9), "*1\r\n$18\r\n")
  })

  it("PROTO-005 leaves bytes as they are", () => {
    assert.strictEqual(wireOf([new Uint8Array([1, 2])]), "*1\r\n$2\r\n\x01\x02\r\n")
  })

  it("PROTO-006 writes numbers as decimal text", () => {
    assert.strictEqual(wireOf(["SET", "mykey", 1]), "*3\r\n$3\r\nSET\r\n$5\r\nmykey\r\n$1\r\n1\r\n")
    assert.strictEqual(
      wireOf([-0, 1.5, -3, 10n ** 20n]),
      "*4\r\n$1\r\n0\r\n$3\r\n1.5\r\n$2\r\n-3\r\n$21\r\n100000000000000000000\r\n"
    )
    assert.strictEqual(wireOf([Infinity, -Infinity]), "*2\r\n$3\r\ninf\r\n$4\r\n-inf\r\n")
  })

  it("may have empty arguments", () => {
    assert.strictEqual(wireOf(["", new Uint8Array(0)]), "*2\r\n$0\r\n\r\n$0\r\n\r\n")
  })

  it("of short texts is one string and nothing else", () => {
    const encoder = new Encoder()
    const payload = encoder.encode(["SET", "key", "value", "EX", 60])
    assert.strictEqual(typeof payload, "string")
    assert.strictEqual(encoder.bytes, String(payload).length)
  })
})

describe("a command whose name is known beforehand", () => {
  it("is the same on the wire, in any spelling and of any length", () => {
    const encoder = new Encoder(new Heads(commandNames))
    const random = new Random(3)
    for (let round = 0; round < 5000; round++) {
      const name = random.pick(commandNames)
      const spelled = random.pick([name.toUpperCase(), name, `${name[0]?.toUpperCase()}${name.slice(1)}`, `${name}x`])
      const rest: ReadonlyArray<Resp.Argument> = Array.from({ length: random.int(0, 12) }, () =>
        random.pick<Resp.Argument>(["", "a", "\u00e9", 7, "x".repeat(9)])
      )
      const payload = payloadOf(encoder.encode([spelled, ...rest]))
      assert.strictEqual(String(payload), plainly([spelled, ...rest]).toString())
      assert.strictEqual(encoder.bytes, plainly([spelled, ...rest]).length)
    }
  })

  it("is among the names of the table; nothing that callers give is kept", () => {
    const heads = new Heads(commandNames)
    assert.isAbove(heads.size, 800)
    const before = heads.size
    const encoder = new Encoder(heads)
    for (let made = 0; made < 10_000; made++) encoder.encode([`made-up-${made}`, "secret"])
    assert.strictEqual(heads.size, before)
    assert.strictEqual(heads.of("made-up-1", 2), "")
    assert.strictEqual(heads.of("GET", 2), "*2\r\n$3\r\nGET")
  })
})

describe("sizes and batches", () => {
  const texts = [
    "",
    "a",
    "GET",
    "x".repeat(8),
    "y".repeat(9),
    "ø",
    "é".repeat(5),
    "日".repeat(100),
    "𝄞",
    "z".repeat(4095),
    "z".repeat(4096),
    "ß".repeat(3000),
    "w".repeat(70_000)
  ]

  const argument = (random: Random): Resp.Argument => {
    switch (random.int(0, 5)) {
      case 0:
        return random.int(-1e9, 1e9)
      case 1:
        return BigInt(random.int(0, 1e9)) ** 3n
      case 2:
        return Uint8Array.from({ length: random.pick([0, 1, 16, 1000, 4095, 4096, 16_384, 16_385, 50_000]) }, () =>
          random.int(0, 255)
        )
      default:
        return random.pick(texts)
    }
  }

  const command = (random: Random): Resp.Command => Array.from({ length: random.int(1, 6) }, () => argument(random))

  it("are right for any commands, alone, in a pipeline and written together", () => {
    const encoder = new Encoder()
    const batch = new Batch()
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(seed)
      const commands = Array.from({ length: random.int(1, 8) }, () => command(random))
      const expected = Buffer.concat(commands.map(plainly))
      for (const one of commands) {
        batch.add(payloadOf(encoder.encode(one)))
        assert.strictEqual(encoder.bytes, plainly(one).length, `seed ${seed}`)
      }
      assert.isTrue(joined(batch.take()).equals(expected), `seed ${seed}: written together`)
      assert.deepStrictEqual(batch.take(), [])
      const pipeline = payloadOf(encoder.encodeAll(commands))
      assert.strictEqual(encoder.bytes, expected.length, `seed ${seed}`)
      batch.add(pipeline)
      assert.isTrue(joined(batch.take()).equals(expected), `seed ${seed}: pipeline`)
      assert.isTrue(joined(chunksOf(Resp.encodePipeline(commands))).equals(expected), `seed ${seed}: public`)
    }
  })

  it("are the same when very many are encoded in steps", () => {
    const random = new Random(1)
    const commands = Array.from({ length: 500 }, () => command(random))
    const expected = Buffer.concat(commands.map(plainly))
    const encoder = new Encoder()
    const steps = encoder.encodeInSteps(commands, 25)
    let rests = 0
    let step = steps.next()
    for (; step.done !== true; step = steps.next()) rests++
    assert.strictEqual(rests, 19)
    assert.strictEqual(encoder.bytes, expected.length)
    const batch = new Batch()
    batch.add(payloadOf(step.value))
    assert.isTrue(joined(batch.take()).equals(expected))
  })

  it("of many short commands are chunks of which none is large", () => {
    const commands = Array.from({ length: 20_000 }, (_, i) => ["SET", `key:${i}`, "value"])
    const chunks = chunksOf(Resp.encodePipeline(commands))
    assert.isBelow(Math.max(...chunks.map((chunk) => chunk.length)), 70_000)
    assert.isTrue(joined(chunks).equals(Buffer.concat(commands.map(plainly))))
  })

  it("glue short texts into one chunk, and short bytes into one buffer", () => {
    const encoder = new Encoder()
    const batch = new Batch()
    for (let index = 0; index < 100; index++) batch.add(payloadOf(encoder.encode(["GET", `key:${index}`])))
    assert.deepStrictEqual(
      batch.take().map((chunk) => typeof chunk),
      ["string"]
    )
    for (let index = 0; index < 100; index++) batch.add(payloadOf(encoder.encode(["SET", "k", new Uint8Array(16)])))
    assert.strictEqual(batch.take().length, 1)
  })

  it("do not glue large texts and bytes", () => {
    const large = new Uint8Array(100_000)
    const text = "x".repeat(100_000)
    const chunks = chunksOf(Resp.encode(["SET", large, text, "end"]))
    assert.isTrue(chunks.includes(large))
    assert.isTrue(chunks.includes(text))
  })
})

describe("byte arguments", () => {
  it("up to 16 KiB are copied when the command is made, larger ones are not", () => {
    for (const [size, copied] of [
      [1, true],
      [4095, true],
      [16_384, true],
      [16_385, false]
    ] as const) {
      const value = new Uint8Array(size)
      const chunks = chunksOf(Resp.encode(["SET", "k", value]))
      value.fill(1)
      assert.strictEqual(joined(chunks).includes(1), !copied, `${size} bytes`)
    }
  })

  it("of an encoder's payload are copied before the batch is made", () => {
    const value = new Uint8Array(100)
    const payload = payloadOf(new Encoder().encode(["SET", "k", value]))
    value.fill(1)
    const batch = new Batch()
    batch.add(payload)
    assert.isFalse(joined(batch.take()).includes(1))
  })

  it("are bytes of their view only", () => {
    const value = new Uint8Array([1, 2, 3, 4, 5]).subarray(1, 3)
    assert.strictEqual(wireOf([value]), "*1\r\n$2\r\n\x02\x03\r\n")
  })
})

describe("what cannot be encoded", () => {
  const refused = (name: string, command: unknown, position: number, remedy: RegExp): void => {
    it(`is refused: ${name}`, () => {
      const failure = Reflect.apply(Resp.encode, undefined, [command])
      if (!(failure instanceof Resp.ArgumentFailure)) return assert.fail("it was encoded")
      assert.strictEqual(failure.position, position)
      assert.match(failure.message, remedy)
      assert.notInclude(failure.message, "secret")
      assert.strictEqual(wireOf(["PING"]), "*1\r\n$4\r\nPING\r\n", "and nothing of it is left")
    })
  }
  refused("an empty command", [], -1, /at least the command's name/)
  refused("no array", "PING secret", -1, /give an array/)
  refused("undefined", ["SET", "k", undefined], 2, /is undefined: give a string/)
  refused("null", ["GET", null], 1, /is null: give a string/)
  refused("a boolean", ["SET", "k", true], 2, /is a boolean: give a string/)
  refused("an object", ["SET", "k", { secret: "secret" }], 2, /is an object/)
  refused("an array", ["SET", "k", ["secret"]], 2, /is an array/)
  refused("an ArrayBuffer", ["SET", "k", new ArrayBuffer(3)], 2, /Uint8Array/)
  refused("a symbol", ["SET", Symbol("secret")], 1, /is a symbol/)
  refused("NaN", ["INCRBYFLOAT", "k", NaN], 2, /NaN/)
  refused("a lone surrogate in a short text", ["SET", "k", "\ud800"], 2, /surrogate/)
  refused("a lone surrogate in a long text", ["SET", `${"k".repeat(100)}\udc00`], 1, /surrogate/)

  it("names the command in a pipeline", () => {
    const failure = Resp.encodePipeline([["PING"], ["GET", NaN]])
    if (!(failure instanceof Resp.ArgumentFailure)) return assert.fail("it was encoded")
    assert.deepStrictEqual([failure.command, failure.position], [1, 1])
  })

  it("is also an empty pipeline", () => {
    assert.instanceOf(Resp.encodePipeline([]), Resp.ArgumentFailure)
  })
})

describe("commands that are longer together than a string can be", () => {
  it("are encoded in parts", () => {
    const value = "x".repeat(4000)
    const together = Array.from({ length: 140_000 }, () => value)
    for (const commands of [[["MSET", ...together]], together.map((text) => ["ECHO", text])]) {
      const encoder = new Encoder()
      const payload = encoder.encodeAll(commands)
      assert.ok(Array.isArray(payload))
      const batch = new Batch()
      batch.add("x".repeat(1000))
      batch.add(payload)
      const lengths = batch.take().map((chunk) => chunk.length)
      assert.strictEqual(
        lengths.reduce((sum, length) => sum + length),
        1000 + encoder.bytes
      )
    }
  })
})

describe("an argument of bytes", () => {
  it.live("is what it was when the call was made, whatever becomes of a small one later", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const gate = yield* Deferred.make<string>()
      yield* server.command(["CONFIG", "SET", "requirepass", "secret"])
      yield* Effect.gen(function* () {
        for (const bytes of [Buffer.from("before"), new TextEncoder().encode("before")]) {
          const set = yield* submit(Redis.command(["SET", "k", bytes]))
          bytes.fill(0x2a)
          yield* Deferred.succeed(gate, "secret")
          yield* Fiber.join(set)
          assert.strictEqual(yield* Redis.command(["GET", "k"]), "before")
        }
      }).pipe(Effect.provide(Redis.layer({ port: server.port, password: Deferred.await(gate) })))
    }).pipe(Effect.scoped)
  )
})

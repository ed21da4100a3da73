/** Byte arguments of more than 16 KiB are taken as they are. What becomes of one is its own call's affair, and nobody else's. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { callsOf, reasonOf, submit } from "../behaviours/support.ts"

const large = () => new Uint8Array(100_000).fill(97)

const shrinkable = () => {
  const buffer = new ArrayBuffer(100_000, { maxByteLength: 200_000 })
  return new Uint8Array(buffer).fill(97)
}

const ways: ReadonlyArray<readonly [what: string, make: () => Uint8Array, spoil: (bytes: Uint8Array) => void]> = [
  ["transferred", large, ({ buffer }) => void structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })],
  ["transferred within the program", large, ({ buffer }) => void (buffer as ArrayBuffer).transfer()],
  ["shrunk", shrinkable, ({ buffer }) => (buffer as ArrayBuffer).resize(10)],
  ["shrunk to nothing", shrinkable, ({ buffer }) => (buffer as ArrayBuffer).resize(0)]
]

describe("an array that is given away before its command is written", () => {
  for (const [what, make, spoil] of ways) {
    it.live(`fails its own call, and hurts no other (${what})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          const bytes = make()
          const before = yield* submit(Redis.command(["GET", "before"]))
          const own = yield* submit(reasonOf(Redis.command(["SET", "k", bytes])))
          const group = yield* submit(
            reasonOf(
              Redis.pipeline([
                ["GET", "x"],
                ["SET", "k", bytes]
              ])
            )
          )
          const behind = yield* submit(Redis.command(["GET", "behind"]))
          spoil(bytes)
          const connection = yield* fake.connection(0)
          yield* submit(
            connection.serve(FakeServer.handshake, ([name, key = ""]) =>
              name === "GET" ? FakeServer.bulk(`of ${key}`) : undefined
            )
          )
          assert.strictEqual(yield* Fiber.join(before), "of before")
          assert.strictEqual(yield* Fiber.join(behind), "of behind")
          for (const reason of [yield* Fiber.join(own), yield* Fiber.join(group)]) {
            assert.strictEqual(reason._tag, "RedisArgumentError")
            assert.include(reason.message, "give a copy")
          }
          assert.deepStrictEqual(yield* callsOf(fake, 0), ["GET before", "GET behind"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
      }).pipe(Effect.scoped)
    )
  }

  it.live("is refused when it was given away before the call", () =>
    Effect.gen(function* () {
      const fake = yield* FakeServer.make((connection) => connection.serve(FakeServer.handshake, () => "+OK\r\n"))
      yield* Effect.gen(function* () {
        const bytes = large()
        bytes.buffer.transfer()
        assert.include((yield* reasonOf(Redis.command(["SET", "k", bytes]))).message, "was transferred")
        assert.strictEqual(yield* Redis.command(["SET", "k", new Uint8Array(0)]), "OK")
        assert.deepStrictEqual(yield* callsOf(fake, 0), ["SET k "])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    }).pipe(Effect.scoped)
  )
})

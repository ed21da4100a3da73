/** `Redis.noreply` where it is doubtful whether the server keeps its replies back: nobody may be given somebody else's. */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { eager, submit } from "../behaviours/support.ts"

const own: FakeServer.Handler = ([name, key = ""]) => (name === "GET" ? FakeServer.bulk(`of ${key}`) : undefined)

type Doubt = readonly [what: string, off: string, command: string, on: string, delivery: "unknown" | undefined]

const doubts: ReadonlyArray<Doubt> = [
  ["lets it pass for done, and answers all", "+OK\r\n", "+OK\r\n", "+OK\r\n", "unknown"],
  ["lets it pass for done, and answers with numbers", "+OK\r\n", ":1\r\n", "+OK\r\n", "unknown"],
  ["lets it pass for done, and answers PONG", "+OK\r\n", "+PONG\r\n", "+OK\r\n", "unknown"],
  ["answers it with a number", ":1\r\n", ":1\r\n", ":1\r\n", "unknown"],
  ["answers it with null", "$-1\r\n", "$-1\r\n", "$-1\r\n", "unknown"],
  ["refuses it", "-ERR unknown command 'CLIENT'\r\n", ":1\r\n", "-ERR unknown command 'CLIENT'\r\n", "unknown"],
  ["keeps its replies back", "", "", "+OK\r\n", undefined],
  ["refuses the last command only, as all before it", "-ERR no\r\n", "-ERR no\r\n", "-ERR no\r\n", "unknown"]
]

describe("noreply through a proxy", () => {
  for (const [what, off, command, on, delivery] of doubts) {
    it.live(`that ${what}`, () =>
      Effect.gen(function* () {
        const proxy: FakeServer.Handler = ([name, word, state]) => {
          if (name === "CLIENT" && word === "REPLY") return state === "OFF" ? off : on
          return name === "INCR" ? command : undefined
        }
        const fake = yield* FakeServer.make((connection) => connection.serve(proxy, FakeServer.handshake, own))
        yield* Effect.gen(function* () {
          yield* Redis.command(["GET", "a"])
          const block = Redis.noreply([
            ["INCR", "n"],
            ["INCR", "n"]
          ])
          const write = yield* submit(Effect.result(block))
          const reads = yield* Effect.forEach(["b", "c", "d"], (key) => submit(Redis.command(["GET", key])))
          const values = yield* Effect.forEach(reads, Fiber.join)
          assert.deepStrictEqual(values, ["of b", "of c", "of d"])
          const result = yield* Fiber.join(write)
          assert.strictEqual(result._tag === "Failure" ? result.failure.delivery : undefined, delivery)
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
      }).pipe(Effect.scoped)
    )
  }

  it.live("is not taken for refused by a user who may not PING", () =>
    Effect.gen(function* () {
      const noPing = "-NOPERM User app has no permissions to run the 'ping' command\r\n"
      const fake = yield* FakeServer.make((connection) =>
        connection.serve(
          ([name, word, state]) => {
            if (name === "CLIENT" && word === "REPLY") return state === "OFF" ? "" : "+OK\r\n"
            return name === "PING" ? noPing : name === "SET" ? "" : undefined
          },
          FakeServer.handshake,
          own
        )
      )
      yield* Effect.gen(function* () {
        yield* Redis.noreply([["SET", "k", "v"]])
        assert.strictEqual(yield* Redis.command(["GET", "k"]), "of k")
        assert.strictEqual((yield* Redis.status).sessions, 1)
      }).pipe(Effect.provide(Redis.layer({ port: fake.port })))
    }).pipe(Effect.scoped)
  )
})

/**
 * Memory under a firehose: a subscriber that takes 50 ms for each message holds its buffer and no more, with every policy, and
 * another one on the same connection gets everything.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisPubSub } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { listenLive } from "./support.ts"
import { withServer } from "../behaviours/support.ts"

const MEBI = 1024 * 1024

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")

/** What this process holds, in MiB: the live heap, and memory outside of it. */
const held = (): number => {
  if (typeof collect === "function") collect()
  const { arrayBuffers, external, heapUsed } = process.memoryUsage()
  return (heapUsed + external + arrayBuffers) / MEBI
}

const payload = "x".repeat(1024)

/** Some 60 MB in all, ten thousand messages a second or what the machine does. */
const firehose = Effect.forEach(
  Array.from({ length: 600 }),
  () => Effect.andThen(Redis.pipeline(Array.from({ length: 100 }, () => ["PUBLISH", "c", payload])), Effect.sleep(1)),
  { discard: true }
)

describe("memory under a firehose", () => {
  for (const whenFull of ["dropOldest", "dropNewest", "fail", "suspend"] as const) {
    it.live(`is bounded with ${whenFull}`, () =>
      Effect.gen(function* () {
        let fast = 0
        let dropped = 0
        let slow = 0
        let takes = 50
        const options: RedisPubSub.SubscribeOptions = { whenFull }
        const slowly = yield* Redis.subscribe("c", options).pipe(
          Stream.runForEach((event) => {
            if (event._tag === "Gap") dropped += event.dropped ?? 0
            if (event._tag !== "Message") return Effect.void
            slow++
            return takes === 0 ? Effect.void : Effect.sleep(takes)
          }),
          Effect.exit,
          Effect.forkScoped({ startImmediately: true })
        )
        yield* Redis.subscribe("c", { bufferMessages: 100_000, bufferBytes: 1e9 }).pipe(
          Stream.runForEach((event) => Effect.sync(() => (event._tag === "Message" ? fast++ : 0))),
          Effect.forkScoped({ startImmediately: true })
        )
        const ear = yield* listenLive(Redis.subscribe("end"))
        const before = held()
        yield* firehose
        yield* Redis.publish("end", "1")
        yield* ear.next
        const grown = held() - before
        // The buffer is 1024 messages of 1 KiB, and what is read at a time a megabyte.
        assert.isBelow(grown, 16, `grown by ${grown.toFixed(1)} MiB`)
        assert.strictEqual(fast, 60_000)
        assert.isBelow(slow, 20_000)
        const server = yield* RedisServer.RedisServer
        const clients = String(yield* server.command(["CLIENT", "LIST", "TYPE", "pubsub"]))
        const kept = [...clients.matchAll(/ omem=(\d+)/g)].map(([, bytes]) => Number(bytes))
        takes = 0
        if (whenFull === "fail") assert.strictEqual((yield* Fiber.join(slowly))._tag, "Failure")
        else assert.isUndefined(slowly.pollUnsafe())
        if (whenFull === "suspend") {
          assert.isAbove(Math.max(...kept), 20 * MEBI)
          assert.strictEqual(dropped, 0)
        }
      }).pipe(
        Effect.scoped,
        Effect.provide(withServer({}, { config: { "client-output-buffer-limit": "pubsub 256mb 256mb 0" } }))
      )
    )
  }
})

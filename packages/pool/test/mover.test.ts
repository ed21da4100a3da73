/** The mover by itself, over connections that are nothing but what it looks at. */
import { assert, describe, it } from "@effect/vitest"
import { RedisOptions } from "@relive/core"
import * as RedisConnection from "@relive/core/RedisConnection"
import type { StatusChange } from "@relive/core/RedisService"
import type { RedisPool } from "@relive/pool"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import { PoolState } from "../src/internal/pool.ts"
import { makeChooser } from "../src/internal/strategies.ts"
import { submit } from "./support.ts"

describe("the mover", () => {
  it.effect("looks again at what has no room with a pause in between, also when `moveAfter` is 0", () =>
    Effect.gen(function* () {
      const resolved = Result.getOrThrow(RedisOptions.resolve({}))
      const changes = yield* PubSub.sliding<StatusChange>(8)
      const events = yield* PubSub.sliding<RedisPool.PoolEvent>(8)
      const settings = { size: 2, moveAfterMillis: 0, staggerMillis: 0 }
      const pool = new PoolState(
        settings,
        "test",
        makeChooser("roundRobin", () => 0),
        () => 0,
        changes,
        events
      )
      pool.shared = yield* RedisConnection.makeShared(resolved)
      const clock = yield* Clock.Clock
      let looks = 0
      const connection = (state: "ready" | "backoff", queued: number): RedisConnection.RedisConnection => ({
        ...pool.shared.waiting,
        state,
        accepting: true,
        queued,
        inFlight: 0,
        downSince: state === "ready" ? undefined : 0,
        status: pool.shared.waiting.status,
        now: () => clock.currentTimeMillisUnsafe(),
        moveUnsent: () => {
          looks++
          return 0
        },
        awaitFirst: Effect.void,
        beginClose: () => {}
      })
      const [first, second] = pool.slots
      assert.ok(first !== undefined && second !== undefined)
      pool.memberStarted(first, connection("ready", 0))
      pool.memberStarted(second, connection("backoff", 1))
      const mover = yield* submit(pool.run)
      for (let i = 0; i < 100; i++) yield* Effect.yieldNow
      assert.strictEqual(looks, 1)
      yield* TestClock.adjust("5 millis")
      assert.isAtLeast(looks, 2)
      yield* Fiber.interrupt(mover)
    })
  )
})

/** The deadline of the first confirmation, where there is nobody to give one. */
import { RedisCluster } from "@relive/cluster"
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

describe("subscribing to a cluster that is away", () => {
  for (const [title, listening, command] of [
    ["a sharded channel", Stream.runDrain(Redis.ssubscribe("c", { timeout: 120 })), "SSUBSCRIBE"],
    [
      "sharded channels of several slots",
      Stream.runDrain(Redis.ssubscribe(["a", "b", "c"], { timeout: 120 })),
      "SSUBSCRIBE"
    ],
    ["a channel", Stream.runDrain(Redis.subscribe("c", { timeout: 120 })), "SUBSCRIBE"],
    ["keys", Stream.runDrain(Redis.keyspace({ check: false, timeout: 120 })), "PSUBSCRIBE"]
  ] as const) {
    it.live(`${title} fails when its time is over`, () =>
      Effect.gen(function* () {
        const start = performance.now()
        const { reason } = yield* Effect.flip(listening)
        assert.ok(reason._tag === "TimeoutError")
        assert.strictEqual(reason.command, command)
        assert.isAtLeast(performance.now() - start, 120)
      }).pipe(Effect.provide(RedisCluster.layer({ nodes: [{ host: "127.0.0.1", port: 1 }] })), Effect.timeout(5000))
    )
  }
})

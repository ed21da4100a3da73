/** The examples for clusters, against a real one. */
import { assert, describe, layer } from "@effect/vitest"
import { RedisCluster } from "@relive/cluster"
import { RedisCluster as Servers } from "@relive/testing"
import { Effect, Layer } from "effect"
import * as Chat from "../cluster/chat.ts"
import * as ShardedCounter from "../cluster/sharded-counter.ts"

const Connected = Layer.unwrap(
  Effect.map(Servers.RedisCluster, ({ urls }) => RedisCluster.layer({ nodes: urls }))
).pipe(Layer.provideMerge(Servers.layer()))

describe("the examples for clusters", () => {
  layer(Connected, { excludeTestServices: true })((it) => {
    it.effect("count a page in parts", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* ShardedCounter.program, 1000)
      })
    )

    it.effect("chat on sharded channels", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* Chat.program, ["(you are in the room)", "is anybody here?", "I am"])
      })
    )
  })
})

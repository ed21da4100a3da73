/** A client of a wide cluster. */
import { assert, describe, it } from "@effect/vitest"
import { RedisCluster } from "@relive/cluster"
import * as Effect from "effect/Effect"
import { makeFakes } from "./fakeCluster.ts"

describe("a cluster of sixty nodes", () => {
  it.live("is ready soon, and asks for no table when nothing has changed", () =>
    Effect.gen(function* () {
      const names = Array.from({ length: 60 }, (_, i) => `N${i}-`)
      const width = Math.ceil(16_384 / 60)
      const map = names.map((name, i) => [i * width, Math.min(16_383, (i + 1) * width - 1), name] as const)
      const cluster = yield* makeFakes(names, map)
      const began = performance.now()
      const client = yield* RedisCluster.make({ nodes: cluster.seeds, start: "await", timeout: 5_000 })
      const keys = Array.from({ length: 300 }, (_, i) => `key:${i}`)
      const replies = yield* client.service.pipeline(keys.map((key) => ["GET", key]))
      assert.isBelow(performance.now() - began, 2_000)
      assert.isTrue(replies.every((reply) => typeof reply === "string"))
      assert.strictEqual((yield* client.status).shards.length, 60)
      const before = (yield* client.status).refreshes.adopted
      for (let i = 0; i < 5; i++) yield* client.refresh
      assert.strictEqual((yield* client.status).refreshes.adopted, before)
    }).pipe(Effect.scoped)
  )
})

import { assert, describe, it, layer } from "@effect/vitest"
import { RedisReplication } from "@relive/testing"
import { Effect } from "effect"

const roleOf = (server: { readonly command: (args: ReadonlyArray<string>) => Effect.Effect<unknown, unknown> }) =>
  Effect.map(server.command(["ROLE"]), (reply) => (Array.isArray(reply) ? String(reply[0]) : ""))

layer(RedisReplication.layer({ replicas: 2, password: "a b" }))("a group as a layer", (it) => {
  it.effect("replicates", () =>
    Effect.gen(function* () {
      const { primary, replicas, synced } = yield* RedisReplication.RedisReplication
      yield* primary.command(["SET", "k", "v"])
      yield* synced
      for (const replica of replicas) {
        assert.strictEqual(yield* replica.command(["GET", "k"]), "v")
        assert.match((yield* Effect.flip(replica.command(["SET", "k", "w"]))).message, /^READONLY/)
      }
    })
  )
})

describe("RedisReplication", () => {
  it.live("fails over to a replica, and the old primary comes back as one", () =>
    Effect.gen(function* () {
      const group = yield* RedisReplication.make({ replicas: 2 })
      yield* group.primary.command(["SET", "k", "v"])
      yield* group.synced
      yield* group.primary.kill
      const promoted = yield* group.failover(1)
      assert.strictEqual(promoted, group.replicas[1])
      assert.strictEqual(yield* group.currentPrimary, promoted)
      yield* promoted.command(["SET", "k", "w"])
      yield* group.synced
      assert.strictEqual(yield* group.replicas[0]?.command(["GET", "k"]) ?? Effect.void, "w")
      yield* group.primary.start
      assert.strictEqual(yield* roleOf(group.primary), "master")
      yield* group.follow(group.primary)
      yield* group.synced
      assert.strictEqual(yield* group.primary.command(["GET", "k"]), "w")
      yield* group.primary.stop
      yield* group.primary.start
      assert.strictEqual(yield* roleOf(group.primary), "slave")
    })
  )

  it.live("swaps the roles of two that run", () =>
    Effect.gen(function* () {
      const group = yield* RedisReplication.make()
      yield* group.failover(0)
      yield* group.synced
      assert.strictEqual(yield* roleOf(group.primary), "slave")
    })
  )
})

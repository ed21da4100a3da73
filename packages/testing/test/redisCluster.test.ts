import { assert, describe, it } from "@effect/vitest"
import { RedisCluster } from "@relive/testing"
import * as Effect from "effect/Effect"

const reply = (node: RedisCluster.Node, ...command: ReadonlyArray<string | number>) =>
  Effect.map(
    Effect.catch(node.server.command(command), ({ message }) => Effect.succeed(message)),
    String
  )

describe("RedisCluster", () => {
  it.live("serves all slots, and moves one with its keys, step by step", () =>
    Effect.gen(function* () {
      const cluster = yield* RedisCluster.make()
      assert.deepStrictEqual(
        cluster.nodes.map((node) => node.name),
        ["A", "B", "C"]
      )
      const [a, b] = [cluster.node("A"), cluster.node("B")]
      assert.strictEqual(yield* cluster.ownerOf(866), a)
      for (const key of ["hello", "{hello}1", "{hello}2"]) yield* reply(a, "SET", key, key)
      const migration = yield* cluster.beginMigration(866, b)
      assert.strictEqual(yield* migration.moveKeys(1), 1)
      assert.match(yield* reply(a, "GET", "{hello}none"), /^ASK 866 /)
      yield* migration.finish
      assert.strictEqual(yield* cluster.ownerOf(866), b)
      assert.strictEqual(yield* reply(b, "MGET", "hello", "{hello}1", "{hello}2"), "hello,{hello}1,{hello}2")
      assert.match(yield* reply(a, "GET", "hello"), /^MOVED 866 /)
    }).pipe(Effect.scoped)
  )

  it.live("fails over by hand and by itself, and comes back", () =>
    Effect.gen(function* () {
      const cluster = yield* RedisCluster.make({ replicas: 1, nodeTimeoutMillis: 500 })
      const [a, a1] = [cluster.node("A"), cluster.node("A1")]
      yield* cluster.failover(a1)
      assert.strictEqual(yield* cluster.ownerOf(0), a1)
      yield* a1.server.kill
      assert.strictEqual(yield* cluster.awaitSuccessor(a1), a)
      yield* cluster.awaitUp
      assert.strictEqual(yield* cluster.ownerOf(0), a)
      yield* a1.server.start
      yield* cluster.awaitUp
    }).pipe(Effect.scoped)
  )

  it.live("leaves no slot open or in doubt when slots move one right after the other", () =>
    Effect.gen(function* () {
      const cluster = yield* RedisCluster.make()
      const [a, b] = [cluster.node("A"), cluster.node("B")]
      for (let slot = 0; slot < 15; slot++) {
        yield* cluster.migrate(slot, b)
        yield* cluster.migrate(6_000 + slot, a)
      }
      for (const { server } of cluster.nodes) {
        const lines = String(yield* server.command(["CLUSTER", "NODES"])).split("\n")
        assert.deepStrictEqual(lines.join("\n").match(/\[\d+-[<>]-/g), null)
        const slotsOf = (id: string) =>
          lines
            .find((line) => line.startsWith(id))
            ?.trim()
            .split(" ")
            .slice(8)
            .join(" ")
        assert.strictEqual(slotsOf(a.id), "15-5460 6000-6014")
        assert.strictEqual(slotsOf(b.id), "0-14 5461-5999 6015-10921")
      }
    }).pipe(Effect.scoped)
  )

  it.live("grows and shrinks, with TLS, a password and names", () =>
    Effect.gen(function* () {
      const cluster = yield* RedisCluster.make({ primaries: 3, tls: true, password: "secret", hostnames: "preferred" })
      const node = yield* cluster.grow()
      yield* reply(cluster.node("A"), "SET", "hello", "v")
      yield* cluster.migrate(866, node)
      assert.strictEqual(yield* reply(node, "GET", "hello"), "v")
      assert.match(yield* reply(cluster.node("A"), "GET", "hello"), /^MOVED 866 n1\.redis\.test:/)
      yield* cluster.shrink(node)
      assert.strictEqual(cluster.nodes.length, 3)
      yield* cluster.awaitUp
    }).pipe(Effect.scoped)
  )
})

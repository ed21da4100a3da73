/** A client against real clusters. */
import { assert, describe, it } from "@effect/vitest"
import { ClusterTopology, RedisCluster } from "@relive/cluster"
import { Redis, Resp } from "@relive/core"
import type { RedisError } from "@relive/core"
import { RedisCluster as Servers } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

/** Servers and a client, for a test. */
const withCluster = (servers: Servers.Options = {}, options: Partial<RedisCluster.Options> = {}) =>
  Layer.unwrap(
    Effect.map(Servers.RedisCluster, (cluster) =>
      RedisCluster.layer({
        nodes: cluster.urls.slice(0, 1),
        ...(cluster.tls === undefined ? {} : { tls: { ca: cluster.tls.ca } }),
        ...options
      })
    )
  ).pipe(Layer.provideMerge(Servers.layer(servers)))

const reasonOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

/** Keys of many slots. */
const keys = Array.from({ length: 60 }, (_, i) => `key:${i}`)

describe("a cluster", () => {
  it.live("CLU-042 CLU-043 CLU-044 CLU-045 CLU-046 CLU-047 CLU-072 serves keys of all its nodes from one seed", () =>
    Effect.gen(function* () {
      for (const key of ["foo", "bar", "hello"]) assert.strictEqual(yield* Redis.command(["SET", key, key]), "OK")
      for (const key of ["foo", "bar", "hello"]) assert.strictEqual(yield* Redis.command(["GET", key]), key)
      assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
      assert.strictEqual(yield* Redis.command(["DBSIZE"]), 3)
      assert.strictEqual(yield* Redis.command(["INCR", "n"]), 1)
      yield* Redis.command(["HSET", "h", "f", "v"])
      assert.strictEqual(yield* Redis.command(["HGET", "h", "f"]), "v")
      assert.strictEqual((yield* reasonOf(Redis.command(["INCR", "foo"])))._tag, "ReplyError")
      assert.match((yield* reasonOf(Redis.command(["NOSUCH", "foo"]))).message, /unknown command/)
      const status = yield* RedisCluster.status
      assert.strictEqual(status.state, "ready")
      assert.deepStrictEqual([status.shards.length, status.uncovered, status.redirects.moved], [3, 0, 0])
    }).pipe(Effect.provide(withCluster()))
  )

  it.live("CLU-049 CLU-051 CLU-052 splits pipelines over the nodes, and puts the replies in order", () =>
    Effect.gen(function* () {
      const set = yield* Redis.pipeline(keys.map((key, i) => ["SET", key, i]))
      assert.deepStrictEqual<unknown>(
        set,
        keys.map(() => "OK")
      )
      const got = yield* Redis.pipeline([
        ...keys.map((key) => ["GET", key]),
        ["PING"],
        ["INCR", "key:1"],
        ["LPUSH", "key:1", 1]
      ])
      assert.deepStrictEqual<unknown>(got.slice(0, 62), [...keys.map((_, i) => String(i)), "PONG", 2])
      assert.ok(got[62] instanceof Resp.ReplyError)
      assert.deepStrictEqual(
        yield* Redis.pipeline([
          ["SET", "{t}1", 1],
          ["SET", "{t}2", 2],
          ["GET", "{t}1"],
          ["MGET", "{t}1", "{t}2"]
        ]),
        ["OK", "OK", "1", ["1", "2"]]
      )
      assert.match((yield* reasonOf(Redis.pipeline([]))).message, /empty/)
      yield* Redis.noreply(keys.map((key) => ["SET", key, "quiet"]))
      assert.strictEqual(yield* Redis.command(["GET", "key:7"]), "quiet")
      const wrong = yield* reasonOf(
        Redis.pipeline([
          ["SET", "a", 1],
          ["SET", "b", NaN]
        ])
      )
      assert.match(wrong.message, /Argument 2 of command 1/)
      assert.strictEqual(yield* Redis.command(["EXISTS", "a"]), 0)
    }).pipe(Effect.provide(withCluster()))
  )

  it.live("splits MGET and its like over slots, and refuses what must be whole", () =>
    Effect.gen(function* () {
      yield* Redis.pipeline(keys.map((key, i) => ["SET", key, i]))
      assert.deepStrictEqual<unknown>(yield* Redis.command(["MGET", ...keys, "none"]), [
        ...keys.map((_, i) => String(i)),
        null
      ])
      assert.strictEqual(yield* Redis.command(["EXISTS", ...keys]), 60)
      assert.strictEqual(yield* Redis.command(["DEL", "key:0", "key:1", "key:2", "none"]), 3)
      const inPipeline = yield* Redis.pipeline([["PING"], ["MGET", "key:3", "key:4"], ["EXISTS", "key:0", "key:5"]])
      assert.deepStrictEqual<unknown>(inPipeline, ["PONG", ["3", "4"], 1])
      for (const command of [
        ["MSET", "a", 1, "b", 2],
        ["RENAME", "a", "b"],
        ["SINTERSTORE", "a", "b", "c"]
      ]) {
        const reason = yield* reasonOf(Redis.command(command))
        assert.strictEqual(reason._tag, "RedisArgumentError")
        assert.match(reason.message, /share a hash tag.*CROSSSLOT/)
      }
      const reason = yield* reasonOf(Redis.pipeline([["PING"], ["RENAME", "a", "b"]]))
      assert.match(reason.message, /^Command 1 \(counted from 0\): RENAME has keys of 2 slots/)
    }).pipe(Effect.provide(withCluster()))
  )

  it.live("CLU-060 CLU-062 runs transactions of one slot, scripts, and optimistic transactions", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* Redis.transaction([
          ["SET", "{t}1", 1],
          ["INCR", "{t}1"]
        ]),
        ["OK", 2]
      )
      const crossing = yield* reasonOf(
        Redis.transaction([
          ["SET", "a", 1],
          ["SET", "b", 1]
        ])
      )
      assert.match(crossing.message, /CROSSSLOT/)
      const script = Redis.script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
      for (const key of ["foo", "bar", "hello"]) assert.strictEqual(yield* script([key], [2]), 2)
      const add = Redis.watch(
        ["n"],
        Effect.map(Redis.command(["GET", "n"], { schema: Schema.NullOr(Schema.FiniteFromString) }), (n) => [
          ["SET", "n", (n ?? 0) + 1]
        ])
      )
      yield* Effect.all(
        Array.from({ length: 5 }, () => add),
        { concurrency: 5 }
      )
      assert.strictEqual(yield* Redis.command(["GET", "n"]), "5")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const lease = yield* RedisCluster.leaseFor("foo")
          assert.strictEqual(yield* lease.command(["SET", "foo", "leased"]), "OK")
        })
      )
    }).pipe(Effect.provide(withCluster()))
  )

  it.live("has one bound for the leases of all nodes, and gives room to whoever has waited longest", () =>
    Effect.gen(function* () {
      const first = yield* Effect.forkChild(
        Effect.scoped(Effect.flatMap(RedisCluster.leaseFor("hello"), (lease) => lease.command(["BLPOP", "hello", 0.2])))
      )
      yield* Effect.sleep(50)
      const reason = yield* reasonOf(Effect.scoped(Redis.leaseWith({ route: "foo", timeout: 20 })))
      assert.strictEqual(reason._tag, "LeaseTimeout")
      const order: Array<string> = []
      const wait = (key: string) =>
        Effect.scoped(Effect.map(Redis.leaseWith({ route: key, timeout: 5_000 }), () => order.push(key)))
      const waiting = yield* Effect.forEach(["foo", "bar", "hello"], (key) =>
        Effect.forkChild(wait(key), { startImmediately: true })
      )
      yield* Effect.forEach(waiting, Fiber.join)
      yield* Fiber.join(first)
      assert.deepStrictEqual(order, ["foo", "bar", "hello"])
    }).pipe(Effect.provide(withCluster({}, { leases: 1 })))
  )

  it.live("asks all primaries for what concerns them all", () =>
    Effect.gen(function* () {
      yield* Redis.pipeline(keys.map((key) => ["SET", key, 1]))
      assert.strictEqual(yield* Redis.command(["DBSIZE"]), 60)
      const found = yield* Redis.command(["KEYS", "key:*"])
      assert.deepStrictEqual<unknown>(Array.isArray(found) ? [...found].sort() : found, [...keys].sort())
      const every = yield* RedisCluster.onEveryPrimary(["DBSIZE"])
      assert.strictEqual(
        [...every.values()].reduce<number>((sum, n) => sum + Number(n), 0),
        60
      )
      const [id] = every.keys()
      const one = yield* RedisCluster.onNode(id ?? "")
      assert.strictEqual(yield* one.command(["CLUSTER", "MYID"]), id)
      assert.strictEqual((yield* reasonOf(RedisCluster.onNode("nobody")))._tag, "ClusterError")
      const sha = yield* Redis.command(["SCRIPT", "LOAD", "return 1"])
      assert.deepStrictEqual(yield* Redis.command(["SCRIPT", "EXISTS", String(sha)]), [1])
      assert.strictEqual(yield* Redis.command(["FLUSHALL"]), "OK")
      assert.strictEqual(yield* Redis.command(["RANDOMKEY"]), null)
      assert.match((yield* reasonOf(Redis.command(["SCAN", 0]))).message, /Redis\.scan/)
    }).pipe(Effect.provide(withCluster()))
  )

  it.live("follows a slot that moves, in the middle of it and after it", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const [here, gone] = ["{hello}here", "{hello}gone"]
      yield* Redis.pipeline([
        ["SET", here, 1],
        ["SET", gone, 2]
      ])
      const migration = yield* servers.beginMigration(866, servers.node("B"))
      yield* migration.from.server.command([
        "MIGRATE",
        "127.0.0.1",
        migration.to.server.port,
        "",
        0,
        5000,
        "KEYS",
        gone
      ])
      assert.strictEqual(yield* Redis.command(["GET", here]), "1")
      assert.strictEqual(yield* Redis.command(["GET", gone]), "2")
      assert.strictEqual(yield* Redis.command(["INCR", gone]), 3)
      assert.strictEqual(yield* Redis.command(["SET", "{hello}new", "n"]), "OK")
      // A transaction of what has moved goes there whole.
      assert.deepStrictEqual(
        yield* Redis.transaction([
          ["INCR", gone],
          ["GET", gone]
        ]),
        [4, "4"]
      )
      assert.deepStrictEqual(
        yield* Redis.pipeline([
          ["GET", here],
          ["GET", gone],
          ["GET", "{hello}new"]
        ]),
        ["1", "4", "n"]
      )
      // Split over two slots, MGET is not kept from finishing by the one that moves.
      assert.deepStrictEqual(yield* Redis.command(["MGET", here, gone, "foo"]), ["1", "4", null])
      // As one command of one slot it waits for the end.
      const whole = yield* Effect.forkChild(Redis.command(["MGET", here, gone]), { startImmediately: true })
      const before = yield* RedisCluster.status
      assert.isAbove(before.redirects.ask, 3)
      yield* migration.finish
      assert.deepStrictEqual(yield* Fiber.join(whole), ["1", "4"])
      assert.strictEqual(yield* Redis.command(["GET", gone]), "4")
      assert.isAbove((yield* RedisCluster.status).redirects.moved + (yield* RedisCluster.status).redirects.tryAgain, 0)
      const cluster = yield* RedisCluster.RedisCluster
      yield* cluster.refresh
      assert.strictEqual(ClusterTopology.ownerOf(yield* cluster.topology, 866)?.id, servers.node("B").id)
    }).pipe(Effect.provide(withCluster()))
  )

  it.live("counts right by optimistic transactions and scripts while the slot moves back and forth", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const moving = yield* Effect.forkChild(
        Effect.forEach(["B", "A", "C"], (name) =>
          Effect.gen(function* () {
            const migration = yield* servers.beginMigration(866, servers.node(name))
            for (let i = 0; i < 3; i++) {
              yield* migration.moveKeys(1)
              yield* Effect.sleep(60)
            }
            yield* migration.finish
            yield* Effect.sleep(50)
          })
        ),
        { startImmediately: true }
      )
      const add = Redis.watch(
        ["{hello}n"],
        Effect.map(Redis.command(["GET", "{hello}n"], { schema: Schema.NullOr(Schema.FiniteFromString) }), (n) => [
          ["SET", "{hello}n", (n ?? 0) + 1]
        ])
      )
      const script = Redis.script("return redis.call('INCR', KEYS[1])")
      const loop = Effect.forEach(Array.from({ length: 15 }), () => Effect.andThen(add, script(["{hello}s"])))
      yield* Effect.all([loop, loop], { concurrency: 2 })
      yield* Fiber.join(moving)
      assert.deepStrictEqual(yield* Redis.command(["MGET", "{hello}n", "{hello}s"]), ["30", "30"])
    }).pipe(Effect.provide(withCluster()), Effect.timeout("25 seconds"))
  )

  it.live("blocks on a lease at the key's node, and goes on at the next one when the slot moves", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const popped = yield* Effect.forkChild(Redis.command(["BLPOP", "hello", 10]), { startImmediately: true })
      yield* Effect.repeat(servers.node("A").server.command(["INFO", "clients"]), {
        until: (info) => /blocked_clients:1/.test(String(info))
      })
      yield* servers.migrate(866, servers.node("B"))
      yield* Effect.repeat(servers.node("B").server.command(["INFO", "clients"]), {
        until: (info) => /blocked_clients:1/.test(String(info))
      })
      yield* Redis.command(["RPUSH", "hello", "x"])
      assert.deepStrictEqual(yield* Fiber.join(popped), ["hello", "x"])
      assert.strictEqual(yield* Redis.command(["BLPOP", "foo", 0.05]), null)
    }).pipe(Effect.provide(withCluster()))
  )

  it.live(
    "CLU-061 CLU-064 CLU-066 CLU-067 CLU-071 places commands that block by the keys in the middle of them",
    () =>
      Effect.gen(function* () {
        yield* Redis.command(["RPUSH", "{user:1000}list", "a", "b"])
        assert.deepStrictEqual(yield* Redis.command(["BLMPOP", 0.1, 1, "{user:1000}list", "LEFT"]), [
          "{user:1000}list",
          ["a"]
        ])
        assert.deepStrictEqual(
          yield* Redis.pipeline([
            ["RPUSH", "{tag}k", "v"],
            ["BLMPOP", 0.1, 1, "{tag}k", "LEFT"],
            ["EXISTS", "{tag}k"]
          ]),
          [1, ["{tag}k", ["v"]], 0]
        )
        const blocked = [
          ["BLMPOP", 0, 1, "{bt}1", "LEFT"],
          ["BLMPOP", 0, 1, "{bt}2", "LEFT"]
        ]
        assert.deepStrictEqual(yield* Redis.transaction(blocked), [null, null])
        assert.deepStrictEqual(yield* Redis.transaction([["PING"], ["PING"]]), ["PONG", "PONG"])
      }).pipe(Effect.provide(withCluster())),
    {
      meta: {
        relive: [
          {
            id: "CLU-061",
            state: "overridden by this design",
            reason: "a transaction without keys is run by any primary, as one server runs it"
          }
        ]
      }
    }
  )

  it.live("CLU-079 does not speak plain text where a seed says rediss://", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const nodes = servers.urls.map((url) => url.replace("redis:", "rediss:"))
      const reason = yield* reasonOf(
        Effect.scoped(
          Effect.flatMap(RedisCluster.make({ nodes, timeout: 1_500 }), ({ service }) =>
            service.command(["SET", "k", 1])
          )
        )
      )
      assert.ok("delivery" in reason)
      assert.strictEqual(reason.delivery, "unsent")
    }).pipe(Effect.provide(Servers.layer({ primaries: 3 })))
  )

  it.live("pops nothing for nobody while consumers' slot moves and their node fails over", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const items = Array.from({ length: 300 }, (_, i) => `item ${i}`)
      const popped: Array<string> = []
      const consumer = Effect.forever(
        Effect.map(Redis.command(["BLPOP", "hello", 5]), (reply) => {
          if (Array.isArray(reply)) popped.push(String(reply[1]))
        })
      )
      const consumers = yield* Effect.forkChild(Effect.all([consumer, consumer, consumer], { concurrency: 3 }), {
        startImmediately: true
      })
      const producer = Effect.forEach(items, (item) => Effect.delay(Redis.command(["RPUSH", "hello", item]), 3))
      const breaking = Effect.gen(function* () {
        yield* servers.migrate(866, servers.node("B"))
        yield* Effect.sleep(100)
        yield* servers.failover(servers.node("B1"))
        yield* Effect.sleep(100)
        yield* servers.migrate(866, servers.node("A"))
      })
      yield* Effect.all([producer, breaking], { concurrency: 2 })
      while (popped.length < items.length) yield* Effect.sleep(10)
      yield* Fiber.interrupt(consumers)
      assert.deepStrictEqual([...popped].sort(), [...items].sort())
    }).pipe(Effect.provide(withCluster({ replicas: 1 })), Effect.timeout("25 seconds"))
  )

  it.live("CLU-150 scans all keys, also while slots move", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const many = Array.from({ length: 2000 }, (_, i) => `scan:${i}`)
      yield* Redis.pipeline(many.map((key) => ["SET", key, 1]))
      const slots = [...new Set(many.slice(0, 12).map((key) => ClusterTopology.slotOf(key)))]
      const moving = yield* Effect.forkChild(
        Effect.forEach(slots, (slot) =>
          Effect.flatMap(servers.ownerOf(slot), (owner) =>
            servers.migrate(slot, servers.nodes.find((node) => node !== owner) ?? owner)
          )
        ),
        { startImmediately: true }
      )
      const seen = new Set(yield* Stream.runCollect(Stream.tap(Redis.scan({ count: 50 }), () => Effect.sleep(0))))
      yield* Fiber.join(moving)
      assert.deepStrictEqual(
        many.filter((key) => !seen.has(key)),
        []
      )
      const tagged = yield* Stream.runCollect(Redis.scan({ match: "{scan}*" }))
      assert.deepStrictEqual(tagged, [])
    }).pipe(Effect.provide(withCluster()))
  )

  it.live("scans all keys of slots whose resharding nobody ends", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const many = Array.from({ length: 500 }, (_, i) => `scan:${i}`)
      const tagged = Array.from({ length: 300 }, (_, i) => `{hello}:${i}`)
      yield* Redis.pipeline([...many, ...tagged].map((key) => ["SET", key, 1]))
      const migration = yield* servers.beginMigration(866, servers.node("B"))
      yield* migration.moveKeys(100)
      const seen = yield* Stream.runCollect(Redis.scan())
      assert.deepStrictEqual([...new Set(seen)].sort(), [...many, ...tagged].sort())
      const only = yield* Stream.runCollect(Redis.scan({ match: "{hello}:*", count: 10 }))
      assert.deepStrictEqual([...new Set(only)].sort(), [...tagged].sort())
      // A node that takes its first slot is on no map yet.
      const joined = yield* servers.grow()
      const first = ClusterTopology.slotOf("scan:1")
      yield* (yield* servers.beginMigration(first, joined)).moveKeys()
      assert.isTrue((yield* Stream.runCollect(Redis.scan())).includes("scan:1"))
      // With only one of its ends marked, what is at the other end is out of everybody's reach.
      yield* servers.node("B").server.command(["CLUSTER", "SETSLOT", 866, "STABLE"])
      assert.strictEqual(new Set(yield* Stream.runCollect(Redis.scan({ match: "{hello}:*" }))).size, 200)
    }).pipe(Effect.provide(withCluster()), Effect.timeout("20 seconds"))
  )

  it.live("scans all keys while a primary dies", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const many = Array.from({ length: 1000 }, (_, i) => `scan:${i}`)
      yield* Redis.pipeline(many.map((key) => ["SET", key, 1]))
      // On every replica before one of them takes over.
      yield* Effect.forEach(["A", "B", "C"], (name) => servers.node(name).server.command(["WAIT", 1, 5_000]))
      const begun = yield* Deferred.make<void>()
      const dying = yield* Effect.forkChild(
        Effect.andThen(
          Deferred.await(begun),
          Effect.suspend(() => servers.node("A").server.kill)
        )
      )
      const slowly = Stream.tap(Redis.scan({ count: 10 }), () =>
        Effect.andThen(Deferred.succeed(begun, undefined), Effect.sleep(1))
      )
      const seen = new Set(yield* Stream.runCollect(slowly))
      yield* Fiber.join(dying)
      assert.deepStrictEqual(
        many.filter((key) => !seen.has(key)),
        []
      )
    }).pipe(Effect.provide(withCluster({ replicas: 1, nodeTimeoutMillis: 500 })), Effect.timeout("25 seconds"))
  )

  it.live("subscribes to sharded channels, which move with their slots", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const events: Array<string> = []
      const subscribed = yield* Deferred.make<void>()
      const again = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(Redis.ssubscribe("hello"), (event) => {
          events.push(event._tag === "Message" ? `Message ${event.payload}` : event._tag)
          if (event._tag === "Subscribed") return Deferred.succeed(subscribed, undefined)
          return event._tag === "Resubscribed" ? Deferred.succeed(again, undefined) : Effect.void
        }),
        { startImmediately: true }
      )
      yield* Deferred.await(subscribed)
      yield* Redis.command(["SPUBLISH", "hello", "one"])
      yield* servers.migrate(866, servers.node("B"))
      yield* Deferred.await(again)
      yield* Redis.command(["SPUBLISH", "hello", "two"])
      while (!events.includes("Message two")) yield* Effect.sleep(5)
      assert.deepStrictEqual(events, ["Subscribed", "Message one", "Gap", "Resubscribed", "Message two"])
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(withCluster()), Effect.timeout("20 seconds"))
  )

  it.live("tells of each loss on a sharded channel, also when its primary dies", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const seen: Array<number | "Gap" | "Resubscribed"> = []
      const ready = yield* Deferred.make<void>()
      const again = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(Redis.ssubscribe("hello"), (event) => {
          if (event._tag === "Message") seen.push(Number(event.payload))
          else if (event._tag !== "Subscribed") seen.push(event._tag)
          if (event._tag === "Subscribed") return Deferred.succeed(ready, undefined)
          return event._tag === "Resubscribed" ? Deferred.succeed(again, undefined) : Effect.void
        }),
        { startImmediately: true }
      )
      yield* Deferred.await(ready)
      const publishing = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 100_000 }), (_, n) =>
          Effect.delay(Effect.ignore(Redis.command(["SPUBLISH", "hello", n])), 2)
        ),
        { startImmediately: true }
      )
      while (seen.length < 20) yield* Effect.sleep(5)
      const owner = yield* servers.ownerOf(866)
      yield* owner.server.kill
      yield* servers.awaitSuccessor(owner)
      const began = performance.now()
      yield* Deferred.await(again)
      assert.isBelow(performance.now() - began, 1_500)
      const before = seen.length
      while (seen.length < before + 20) yield* Effect.sleep(5)
      yield* Fiber.interrupt(publishing)
      yield* Fiber.interrupt(fiber)
      // A number that is missing stands between a Gap and its end.
      let last = -1
      let inGap = false
      for (const one of seen) {
        if (one === "Gap") inGap = true
        else if (one !== "Resubscribed") {
          if (one !== last + 1) assert.isTrue(inGap, `${last} ${one}`)
          last = one
          inGap = false
        }
      }
    }).pipe(Effect.provide(withCluster({ replicas: 1, nodeTimeoutMillis: 500 })), Effect.timeout("25 seconds"))
  )

  it.live("subscribes to channels of several slots, and to classic ones at any node", () =>
    Effect.gen(function* () {
      const ways = [
        [Redis.ssubscribe(["hello", "foo", "bar"]), "SPUBLISH"],
        [Redis.subscribe(["hello", "foo", "bar"]), "PUBLISH"]
      ] as const
      for (const [stream, publish] of ways) {
        const seen = yield* Deferred.make<ReadonlyArray<string>>()
        const messages: Array<string> = []
        const ready = yield* Deferred.make<void>()
        const fiber = yield* Effect.forkChild(
          Stream.runForEach(stream, (event) => {
            if (event._tag === "Subscribed") return Deferred.succeed(ready, undefined)
            if (event._tag === "Message") messages.push(event.channel)
            return messages.length === 3 ? Deferred.succeed(seen, messages) : Effect.void
          }),
          { startImmediately: true }
        )
        yield* Deferred.await(ready)
        for (const channel of ["hello", "foo", "bar"]) yield* Redis.command([publish, channel, "m"])
        assert.deepStrictEqual([...(yield* Deferred.await(seen))].sort(), ["bar", "foo", "hello"])
        yield* Fiber.interrupt(fiber)
      }
    }).pipe(Effect.provide(withCluster()), Effect.timeout("20 seconds"))
  )

  it.live("is told of changes of keys on all nodes", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const ready = yield* Deferred.make<void>()
      const again = yield* Deferred.make<void>()
      const changed: Array<string> = []
      const tags: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(Redis.keyspace({ events: ["set"] }), (event) => {
          if (event._tag === "KeyEvent") changed.push(event.key)
          else tags.push(event._tag)
          if (event._tag === "Subscribed") return Deferred.succeed(ready, undefined)
          return event._tag === "Resubscribed" ? Deferred.succeed(again, undefined) : Effect.void
        }),
        { startImmediately: true }
      )
      yield* Deferred.await(ready)
      for (const key of ["hello", "foo", "bar"]) yield* Redis.command(["SET", key, 1])
      while (changed.length < 3) yield* Effect.sleep(5)
      assert.deepStrictEqual([...changed].sort(), ["bar", "foo", "hello"])
      // A primary that joins tells of its keys, too.
      const joined = yield* servers.grow()
      yield* joined.server.command(["CONFIG", "SET", "notify-keyspace-events", "KEA"])
      yield* servers.migrate(866, joined)
      yield* Redis.command(["SET", "hello", 2])
      yield* Deferred.await(again)
      yield* Redis.command(["SET", "hello", 3])
      while (changed.filter((key) => key === "hello").length < 2) yield* Effect.sleep(5)
      assert.deepStrictEqual(tags, ["Subscribed", "Gap", "Resubscribed"])
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(withCluster({ config: { "notify-keyspace-events": "KEA" } })), Effect.timeout("25 seconds"))
  )

  it.live("CLU-096 CLU-097 CLU-098 reads from replicas, and not what they have lost in a resharding", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      yield* Redis.pipeline(keys.map((key, i) => ["SET", key, i]))
      const replica = servers.node("A1")
      const reads = Effect.map(replica.server.command(["INFO", "commandstats"]), (info) =>
        Number(/cmdstat_get:calls=(\d+)/.exec(String(info))?.[1] ?? 0)
      )
      yield* Effect.repeat(Effect.andThen(Redis.command(["GET", "hello"], { readFrom: "preferReplica" }), reads), {
        until: (count) => count > 0
      })
      assert.deepStrictEqual<unknown>(
        yield* Redis.pipeline(keys.map((key) => ["GET", key])),
        keys.map((_, i) => String(i))
      )
      yield* Redis.command(["SET", "{hello}k", "v"])
      yield* Effect.repeat(replica.server.commands([["READONLY"], ["GET", "{hello}k"]]), {
        until: ([, value]) => value === "v"
      })
      const before = yield* reads
      assert.strictEqual(yield* Redis.command(["GET", "{hello}k"]), "v")
      assert.isAbove(yield* reads, before)
      // The replica does not know that the key has moved on: it says null, and since Valkey 8 it redirects.
      const migration = yield* servers.beginMigration(866, servers.node("B"))
      yield* migration.moveKeys()
      const lost = Effect.match(replica.server.commands([["READONLY"], ["GET", "{hello}k"]]), {
        onFailure: ({ message }) => message.startsWith("ASK "),
        onSuccess: ([, value]) => value === null
      })
      yield* Effect.repeat(lost, { until: (isLost) => isLost })
      assert.strictEqual(yield* Redis.command(["GET", "{hello}k"]), "v")
      assert.deepStrictEqual(
        yield* Redis.pipeline([
          ["GET", "{hello}k"],
          ["GET", "{hello}k"]
        ]),
        ["v", "v"]
      )
      yield* migration.finish
      assert.strictEqual(yield* Redis.command(["GET", "{hello}k"]), "v")
      assert.strictEqual(yield* Redis.command(["GET", "{hello}k"], { readFrom: "primary" }), "v")
      const status = yield* RedisCluster.status
      assert.isTrue(status.shards.every(({ replicas }) => replicas.length === 1))
    }).pipe(Effect.provide(withCluster({ replicas: 1 }, { readFrom: "preferReplica" })))
  )

  it.live("CLU-093 CLU-094 says when there is no replica to read from", () =>
    Effect.gen(function* () {
      yield* Redis.command(["SET", "k", 1])
      const reason = yield* reasonOf(Redis.command(["GET", "k"], { readFrom: "replica" }))
      assert.ok(reason._tag === "ClusterError")
      assert.deepStrictEqual([reason.kind, reason.delivery], ["no-replica", "unsent"])
      assert.strictEqual(yield* Redis.command(["GET", "k"], { readFrom: "preferReplica" }), "1")
    }).pipe(Effect.provide(withCluster()))
  )

  it.live("serves nodes that join, with TLS, a password and names, and lets go of those that leave", () =>
    Effect.gen(function* () {
      const servers = yield* Servers.RedisCluster
      const joined = yield* servers.grow()
      yield* Redis.command(["SET", "hello", 1])
      yield* servers.migrate(866, joined)
      assert.strictEqual(yield* Redis.command(["GET", "hello"]), "1")
      const cluster = yield* RedisCluster.RedisCluster
      yield* cluster.refresh
      assert.strictEqual((yield* RedisCluster.status).shards.length, 4)
      yield* servers.shrink(joined)
      assert.strictEqual(yield* Redis.command(["GET", "hello"]), "1")
      yield* cluster.refresh
      yield* Effect.repeat(Effect.andThen(Effect.sleep(20), RedisCluster.status), {
        until: ({ shards }) => shards.length === 3
      })
    }).pipe(
      Effect.provide(
        withCluster(
          { tls: true, password: "secret", hostnames: "announced" },
          {
            serverName: () => "localhost"
          }
        )
      ),
      Effect.timeout("25 seconds")
    )
  )
})

/** The pool on a real server. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Redis } from "@relive/core"
import { Process, Supervisor } from "@relive/otp"
import * as Registry from "@relive/otp/Registry"
import { RedisPool } from "@relive/pool"
import { Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { inspect } from "node:util"
import { awaitReady, inTree, name, outcomeOf, pool, slow, status, submit } from "./support.ts"

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

const all = { concurrency: "unbounded" } as const

/** A pool on the server of the test, as a layer. */
const onServer = (options: RedisPool.Options) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => RedisPool.layer({ url, ...options })))

/** The same in a tree, under the name of the tests. */
const named = (options: RedisPool.Options) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => inTree({ url, ...options })))

const clientId = Redis.command(["CLIENT", "ID"])

const normalClients = Effect.flatMap(RedisServer.RedisServer, (server) =>
  Effect.map(server.command(["CLIENT", "LIST", "TYPE", "normal"]), (list) =>
    String(list)
      .split("\n")
      .filter((line) => line.includes(" name=pooled "))
  )
)

layer(RedisServer.layer(), { excludeTestServices: true })("a pool", (it) => {
  it.effect("has one connection for all subscriptions, beside its members, and tells what a loss of it costs", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const subscribers = Effect.map(
        server.command(["CLIENT", "LIST", "TYPE", "pubsub"]),
        (list) =>
          String(list)
            .split("\n")
            .filter((line) => line !== "").length
      )
      const heard: Array<string> = []
      const live = yield* Latch.make()
      const done = yield* Latch.make()
      const ears = yield* Effect.forEach([["c"], ["c", "d"], ["d"]], (channels) =>
        Redis.subscribe(channels).pipe(
          Stream.runForEach((event) => {
            heard.push(event._tag)
            if (heard.length === 3 || heard.length === 9) return live.open
            return heard.length === 11 ? done.open : Effect.void
          }),
          Effect.forkChild
        )
      )
      yield* live.await
      assert.strictEqual(yield* subscribers, 1)
      yield* live.close
      yield* server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
      yield* live.await
      assert.strictEqual(yield* Redis.publish("c", "hello"), 1)
      yield* done.await
      assert.deepStrictEqual(
        heard.toSorted(),
        [..."GGGMMRRRSSS"].map((first) => ({ G: "Gap", M: "Message", R: "Resubscribed", S: "Subscribed" })[first])
      )
      yield* Effect.forEach(ears, (ear) => Fiber.interrupt(ear), all)
    }).pipe(Effect.provide(onServer({ size: 3 })))
  )

  it.effect("is the same service to programs: replies, errors, pipelines, transactions, scripts, scans", () =>
    Effect.gen(function* () {
      yield* Redis.command(["DEL", "set"])
      const values = yield* Effect.forEach(
        range(500),
        (i) => Effect.andThen(Redis.command(["SET", `k${i}`, i]), Redis.command(["GET", `k${i}`])),
        all
      )
      assert.deepStrictEqual(values, range(500).map(String))
      assert.strictEqual(yield* outcomeOf(Redis.command(["LPUSH", "k1", "x"])), "ReplyError")
      assert.strictEqual(yield* outcomeOf(Redis.command(["SUBSCRIBE", "x"])), "RedisArgumentError")
      assert.deepStrictEqual(
        yield* Redis.pipeline([
          ["SET", "a", 1],
          ["INCR", "a"]
        ]),
        ["OK", 2]
      )
      assert.deepStrictEqual(
        yield* Redis.transaction([
          ["SET", "a", 5],
          ["INCR", "a"]
        ]),
        ["OK", 6]
      )
      yield* Redis.noreply(range(100).map((i) => ["SADD", "set", i]))
      assert.strictEqual((yield* Stream.runCollect(Redis.sscan("set"))).length, 100)
      assert.strictEqual(yield* Redis.script("return ARGV[1]")([], ["x"]), "x")
      assert.strictEqual(yield* Redis.command(["BLPOP", "nothing", 0.01]), null)
      const watched = Redis.watch(
        ["a"],
        Effect.map(Redis.command(["GET", "a"]), (a) => [["SET", "a", Number(a) + 1]])
      )
      yield* Effect.forEach(range(5), () => watched, all)
      assert.strictEqual(yield* Redis.command(["GET", "a"]), "11")
    }).pipe(Effect.provide(onServer({ size: 3 })))
  )

  it.effect("POOL-007 spreads the load over its members, by each strategy", () =>
    Effect.gen(function* () {
      for (const strategy of ["leastInFlight", "roundRobin", "random"] as const) {
        const ids = yield* Effect.gen(function* () {
          yield* awaitReady(5)
          return yield* Effect.forEach(range(200), () => clientId, all)
        }).pipe(Effect.provide(named({ size: 5, strategy })))
        assert.strictEqual(new Set(ids).size, 5, strategy)
      }
    })
  )

  it.effect("gives a strategy of the user's nothing that it could take out of the pool", () =>
    Effect.gen(function* () {
      // As a program without types may do.
      const strategy: RedisPool.Choose = (members) => Reflect.apply(Array.prototype.pop, members, [])
      yield* Effect.gen(function* () {
        yield* awaitReady(2)
        const outcomes = yield* Effect.forEach(range(3), () => outcomeOf(Redis.command(["PING"])))
        assert.deepStrictEqual(outcomes, ["RedisArgumentError", "RedisArgumentError", "RedisArgumentError"])
      }).pipe(Effect.provide(named({ size: 2, strategy })))
    })
  )

  it.effect("POOL-008 lets a sequential caller read its own writes", () =>
    Effect.gen(function* () {
      yield* awaitReady(5)
      for (const i of range(100)) {
        yield* Redis.command(["SET", "own", i])
        assert.strictEqual(yield* Redis.command(["GET", "own"]), String(i))
      }
    }).pipe(Effect.provide(named({ size: 5, strategy: "random" })))
  )

  it.effect("keeps pipelines and transactions whole on one member", () =>
    Effect.gen(function* () {
      yield* awaitReady(4)
      const same = (replies: ReadonlyArray<unknown>) => new Set(replies).size === 1
      const whole = Array.from({ length: 20 }, () => ["CLIENT", "ID"])
      const pipelines = yield* Effect.forEach(range(40), () => Redis.pipeline(whole), all)
      const transactions = yield* Effect.forEach(range(40), () => Redis.transaction(whole), all)
      for (const replies of [...pipelines, ...transactions]) assert.ok(same(replies))
      assert.strictEqual(new Set(pipelines.map(([id]) => id)).size, 4)
    }).pipe(Effect.provide(named({ size: 4 })))
  )

  it.effect("chooses anew each time that an effect is run, also when it was made long before", () =>
    Effect.gen(function* () {
      yield* awaitReady(3)
      const { service } = yield* pool
      const effect = service.command(["CLIENT", "ID"])
      const ids = yield* Effect.forEach(range(9), () => effect)
      assert.strictEqual(new Set(ids).size, 3)
    }).pipe(Effect.provide(named({ size: 3, strategy: "roundRobin" })))
  )

  it.effect("leaves its members free while commands block, and has one bound of leases for all", () =>
    Effect.gen(function* () {
      yield* awaitReady(2)
      const blocked = yield* Effect.forEach(range(3), () => submit(outcomeOf(Redis.command(["BLPOP", "never", 0]))))
      const late = yield* submit(outcomeOf(Redis.command(["BLPOP", "never", 0], { timeout: "100 millis" })))
      assert.deepStrictEqual(
        yield* Effect.forEach(range(20), () => Redis.command(["PING"]), all),
        range(20).map(() => "PONG")
      )
      assert.strictEqual((yield* status).leases.waiting, 1)
      assert.strictEqual(yield* Fiber.join(late), "LeaseTimeout")
      assert.deepStrictEqual((yield* status).leases, { out: 3, idle: 0, waiting: 0 })
      // A member that is addressed by its name has no leases of its own.
      const member = yield* Redis.named(RedisPool.memberName(name, 0))
      assert.strictEqual(
        yield* outcomeOf(member.command(["BLPOP", "never", 0], { timeout: "50 millis" })),
        "LeaseTimeout"
      )
      assert.strictEqual((yield* normalClients).length, 2 + 3)
      yield* Effect.forEach(blocked, Fiber.interrupt)
    }).pipe(Effect.provide(named({ size: 2, leases: 3, name: "pooled" })))
  )

  it.effect("POOL-006 has members that can be addressed by their names, each a connection of its own", () =>
    Effect.gen(function* () {
      yield* awaitReady(3)
      const services = yield* Effect.forEach(range(3), (i) => Redis.named(RedisPool.memberName(name, i)))
      const ids = yield* Effect.forEach(services, (service) => service.command(["CLIENT", "ID"]))
      assert.strictEqual(new Set(ids).size, 3)
      const again = yield* Effect.forEach(services, (service) => service.command(["CLIENT", "ID"]))
      assert.deepStrictEqual(again, ids)
    }).pipe(Effect.provide(named({ size: 3 })))
  )

  it.effect("refuses a name of another kind, and says what a name is", () =>
    Effect.gen(function* () {
      const { url } = yield* RedisServer.RedisServer
      for (const wrong of ["pool", 3, {}]) {
        const children = [RedisPool.childSpec({ url, register: wrong as never })]
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Supervisor.layer(Supervisor.make({ children })))))
        assert.include(inspect(error, { depth: 10 }), "Redis.Name")
      }
    })
  )

  it.effect("POOL-004 is reached through a registry that is shared with other trees, or of one's own", () =>
    Effect.gen(function* () {
      const { url } = yield* RedisServer.RedisServer
      for (const registry of [yield* Registry.make(), yield* Registry.make({ keys: "duplicate" })]) {
        const inRegistry = Effect.provideService(Registry.Registry, registry)
        const spec = Supervisor.make({ children: [RedisPool.childSpec({ url, register: name, size: 2 })] })
        yield* inRegistry(Supervisor.start(spec))
        // Another tree, with the same names.
        const fiber = yield* submit(Effect.flatMap(inRegistry(Redis.named(name)), (redis) => redis.command(["PING"])))
        assert.strictEqual(yield* Fiber.join(fiber), "PONG")
        const member = yield* inRegistry(Redis.named(RedisPool.memberName(name, 1)))
        assert.strictEqual(yield* member.command(["PING"]), "PONG")
      }
    })
  )

  it.effect("shows what its members are doing, and no secrets", () =>
    Effect.gen(function* () {
      yield* Effect.repeat(RedisPool.status, { until: ({ ready }) => ready === 3 })
      const now = yield* RedisPool.status
      assert.deepInclude(now, {
        size: 3,
        ready: 3,
        state: "ready",
        sessions: 3,
        queued: 0,
        inFlight: 0,
        waiting: 0,
        moved: 0
      })
      assert.deepStrictEqual(
        now.members.map(({ index, sessions, state }) => [index, state, sessions]),
        [
          [0, "ready", 1],
          [1, "ready", 1],
          [2, "ready", 1]
        ]
      )
      assert.strictEqual((yield* Redis.status).sessions, 3)
      const shown = inspect([yield* RedisPool.RedisPool, now], { depth: 20, showHidden: true })
      assert.notInclude(shown, "hunter2")
    }).pipe(
      Effect.provide(
        Layer.unwrap(
          Effect.map(RedisServer.RedisServer, ({ port }) =>
            RedisPool.layer({ port, size: 3, onConnect: [["ECHO", "hunter2"]] })
          )
        )
      )
    )
  )

  it.effect("tells what happens, as a pool and as if it was one connection", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* awaitReady(2)
      const { events } = yield* pool
      const changes = yield* submit(Stream.runCollect(Stream.take(Redis.events, 2)))
      const happened = yield* submit(Stream.runCollect(Stream.take(events, 8)))
      yield* server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
      const seen = yield* Fiber.join(happened)
      for (const index of [0, 1]) {
        assert.deepStrictEqual(
          seen.flatMap((event) => (event._tag === "MemberChanged" && event.index === index ? [event.state] : [])),
          ["backoff", "connecting", "handshaking", "ready"]
        )
      }
      assert.strictEqual((yield* Fiber.join(changes))[0]?.state !== "ready", true)
      yield* awaitReady(2)
      assert.strictEqual((yield* Redis.status).state, "ready")
    }).pipe(Effect.provide(named({ size: 2 })))
  )

  it.effect("restarts a lost member while the others go on, and no command notices", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* awaitReady(3)
      const load = yield* submit(
        Effect.forEach(range(3000), (i) => outcomeOf(Redis.command(["GET", `k${i % 10}`])), { concurrency: 50 })
      )
      for (const _ of range(5)) {
        const id = yield* clientId
        yield* server.command(["CLIENT", "KILL", "ID", Number(id)])
        yield* awaitReady(3)
      }
      const outcomes = yield* Fiber.join(load)
      assert.deepStrictEqual(
        outcomes.filter((outcome) => typeof outcome === "string" && outcome.includes("/")),
        []
      )
    }).pipe(Effect.provide(named({ size: 3 })))
  )

  it.effect("goes on with the members it has when one cannot come back", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const proxy = yield* FaultProxy.make(server)
      yield* Effect.gen(function* () {
        yield* awaitReady(3)
        const refusal = yield* proxy.inject(Fault.refuse())
        yield* server.command(["CLIENT", "KILL", "ID", Number(yield* clientId)])
        yield* awaitReady(2)
        const outcomes = yield* Effect.forEach(range(300), (i) => outcomeOf(Redis.command(["SET", "k", i])), all)
        assert.deepStrictEqual(new Set(outcomes), new Set(["OK"]))
        assert.strictEqual((yield* status).ready, 2)
        yield* refusal.heal
        yield* awaitReady(3)
      }).pipe(
        Effect.provide(inTree({ host: proxy.host, port: proxy.port, size: 3, backoffInitial: 10, backoffCap: 50 }))
      )
    })
  )

  it.effect("can be a service of one's own, from options and from Config", () =>
    Effect.gen(function* () {
      class Bulk extends Redis.Tag<Bulk>()("test/Bulk") {}
      const { port } = yield* RedisServer.RedisServer
      for (const layer of [
        RedisPool.layerFor(Bulk, { port, size: 2 }),
        RedisPool.layerConfigFor(Bulk, { port: Config.succeed(port), size: Config.succeed(2) })
      ]) {
        assert.strictEqual(yield* Effect.provide(Bulk.command(["PING"]), layer), "PONG")
      }
    })
  )

  it.effect("starts when told to wait for the first member, or fails with the error of one", () =>
    Effect.gen(function* () {
      const { port, url } = yield* RedisServer.RedisServer
      const ready = Effect.map(
        Effect.provide(RedisPool.status, RedisPool.layer({ url, start: "await" })),
        (s) => s.ready
      )
      assert.isAtLeast(yield* ready, 1)
      const options = { port, database: 99, start: "await", size: 3, name: "pooled" } as const
      const error = yield* Effect.flip(Effect.provide(Redis.status, RedisPool.layer(options)))
      assert.strictEqual(error.reason._tag === "ConnectionError" && error.reason.kind, "handshake")
      const tree = Supervisor.layer(Supervisor.make({ children: [RedisPool.childSpec(options)] }))
      assert.ok(Exit.isFailure(yield* Effect.exit(Effect.scoped(Layer.build(tree)))))
      assert.strictEqual((yield* normalClients).length, 0)
    })
  )

  it.effect("dials one after the other, not all at once: at its start, and when a server has lost them all", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      // Each waits for up to 30 ms for each before it.
      const [start] = yield* Effect.timed(awaitReady(20))
      assert.isAbove(Duration.toMillis(start), 100)
      yield* server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
      yield* awaitReady(0)
      const [restart] = yield* Effect.timed(awaitReady(20))
      assert.isAbove(Duration.toMillis(restart), 100)
      // One that is lost alone waits for nobody.
      yield* server.command(["CLIENT", "KILL", "ID", Number(yield* clientId)])
      yield* awaitReady(19)
      const [took] = yield* Effect.timed(awaitReady(20))
      assert.isBelow(Duration.toMillis(took), 100)
    }).pipe(
      Effect.provide(named({ size: 20, stagger: "30 millis", backoffFirst: 1, backoffInitial: 1, backoffCap: 1 }))
    )
  )
})

describe("the end of a pool", () => {
  it.live("settles every call, and leaves no fiber and no socket behind", () =>
    Effect.gen(function* () {
      const register = Process.makeFiberRegister()
      const server = yield* RedisServer.RedisServer
      const scope = yield* Scope.make()
      const pool = yield* RedisPool.make({
        url: server.url,
        size: 4,
        name: "pooled",
        closeTimeout: "200 millis",
        start: "await"
      }).pipe(Scope.provide(scope), Effect.provideService(Process.FiberRegister, register))
      const calls = yield* Effect.forEach(range(400), (i) =>
        submit(
          outcomeOf(i % 20 === 0 ? pool.service.command(["BLPOP", "never", 0]) : pool.service.command(["INCR", "n"]))
        )
      )
      yield* Scope.close(scope, Exit.void)
      const outcomes = yield* Effect.forEach(calls, Fiber.join)
      assert.strictEqual(outcomes.length, 400)
      assert.strictEqual(yield* outcomeOf(pool.service.command(["PING"])), "shutdown/unsent")
      assert.strictEqual((yield* pool.status).state, "closed")
      const live = yield* Effect.provideService(Process.liveFibers, Process.FiberRegister, register)
      assert.deepStrictEqual(
        live.map(({ path }) => path),
        []
      )
      yield* Effect.repeat(normalClients, { until: (clients) => clients.length === 0 })
      const executed = outcomes.filter((outcome) => typeof outcome === "number").length
      assert.strictEqual(Number((yield* server.command(["GET", "n"])) ?? 0), executed)
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("takes one `closeTimeout`, not one for each member, when the server is silent", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make(yield* RedisServer.RedisServer)
      const scope = yield* Scope.make()
      const pool = yield* RedisPool.make({
        host: proxy.host,
        port: proxy.port,
        size: 8,
        stagger: 0,
        closeTimeout: "300 millis"
      }).pipe(Scope.provide(scope))
      yield* Effect.repeat(pool.status, { until: ({ ready }) => ready === 8 })
      yield* proxy.inject(Fault.stall())
      const calls = yield* Effect.forEach(range(80), () => submit(outcomeOf(pool.service.command(["INCR", "n"]))))
      const [took] = yield* Effect.timed(Scope.close(scope, Exit.void))
      assert.isBelow(Duration.toMillis(took), 1500)
      const outcomes = yield* Effect.forEach(calls, Fiber.join)
      assert.deepStrictEqual(new Set(outcomes), new Set(["shutdown/unknown"]))
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("by itself, after too many crashes, fails calls instead of leaving them to wait", () =>
    Effect.gen(function* () {
      const { url } = yield* RedisServer.RedisServer
      yield* Effect.gen(function* () {
        yield* awaitReady(1)
        const { service } = yield* pool
        const supervised = yield* Supervisor.SupervisorRef
        for (const _ of range(4)) {
          const process = yield* Effect.repeat(Registry.whereIs(RedisPool.memberName(name, 0)), {
            until: Option.isSome
          })
          yield* Option.getOrThrow(process).exit({ _tag: "Kill" })
          yield* Option.getOrThrow(process).awaitExit
        }
        yield* supervised.awaitExit
        assert.strictEqual(yield* outcomeOf(service.command(["PING"])), "shutdown/unsent")
      }).pipe(
        Effect.provide(
          Layer.provideMerge(
            Redis.layerNamed(name),
            Supervisor.layer(
              Supervisor.make({
                intensity: 0,
                children: [RedisPool.childSpec({ url, ...slow, size: 1, register: name })]
              })
            )
          )
        )
      )
    }).pipe(Effect.provide(RedisServer.layer()))
  )
})

/** Pub/sub on real servers: refusals, buffers, limits of the server, large numbers, credentials, names. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, type RedisOptions, type RedisPubSub } from "@relive/core"
import { Registry, Supervisor } from "@relive/otp"
import { Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { awaitState, eager, withServer } from "../behaviours/support.ts"
import { Random } from "../behaviours/random.ts"
import { awaitKnown, killSubscribers, listen, listenLive, take } from "./support.ts"

/** Why a stream ended. */
const failureOf = (exit: Exit.Exit<void, RedisError.RedisError>): RedisError.Reason | undefined => {
  if (exit._tag === "Success") return undefined
  const reason = exit.cause.reasons[0]
  return reason?._tag === "Fail" ? reason.error.reason : undefined
}

const protocols = [2, 3] as const

describe("a refusal", () => {
  const users = { app: "on >secret ~* &ok* +@all", default: "on nopass ~* &* +@all" }
  for (const protocol of protocols) {
    const reach = (port: number): RedisOptions.Options => ({
      port,
      username: "app",
      password: "secret",
      protocol,
      ...eager
    })

    it.live(`fails the subscription that asked, and no one else (RESP${protocol})`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make({ users })
        yield* Effect.gen(function* () {
          const ok = yield* listen(Redis.subscribe(["ok1", "ok2"]))
          const bad = yield* listen(Redis.subscribe(["ok1", "secret", "ok3"]))
          const pattern = yield* listen(Redis.psubscribe("*"))
          assert.deepStrictEqual(yield* take(ok, 1), ["Subscribed ok1 ok2"])
          for (const [ear, command] of [
            [bad, "SUBSCRIBE"],
            [pattern, "PSUBSCRIBE"]
          ] as const) {
            const reason = failureOf(yield* ear.ended)
            assert.ok(reason?._tag === "ReplyError")
            assert.deepStrictEqual([reason.code, reason.command], ["NOPERM", command])
            assert.deepStrictEqual(yield* ear.rest, [])
          }
          yield* awaitKnown(["ok1", "ok2"]).pipe(Effect.provideService(RedisServer.RedisServer, server))
          yield* Redis.publish("ok2", "fine")
          assert.deepStrictEqual(yield* take(ok, 1), ["ok2: fine"])
        }).pipe(Effect.provide(Redis.layer(reach(server.port))))
      })
    )

    it.live(`that comes later, when a right was taken away, is told as well (RESP${protocol})`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make({ users })
        yield* Effect.gen(function* () {
          const one = yield* listenLive(Redis.subscribe("ok1"))
          const two = yield* listenLive(Redis.subscribe("ok2"))
          yield* server.command(["ACL", "SETUSER", "app", "resetchannels", "&ok2"])
          assert.deepStrictEqual(yield* take(one, 1), ["Gap disconnected"])
          assert.strictEqual(failureOf(yield* one.ended)?._tag, "ReplyError")
          assert.deepStrictEqual(yield* take(two, 2), ["Gap disconnected", "Resubscribed ok2"])
          yield* Redis.publish("ok2", "fine")
          assert.deepStrictEqual(yield* take(two, 1), ["ok2: fine"])
        }).pipe(Effect.provide(Redis.layer(reach(server.port))))
      })
    )
  }

  it.live("of our own: what is no name, no option, and no text", () =>
    Effect.gen(function* () {
      const failed = (events: Stream.Stream<unknown, RedisError.RedisError, never>) =>
        Effect.map(Effect.flip(Stream.runDrain(events)), ({ reason }) => `${reason._tag}: ${reason.message}`)
      const service = yield* Effect.flatMap(Redis.status, () => Effect.context<never>())
      const on = <E>(events: Stream.Stream<E, RedisError.RedisError, unknown>) =>
        failed(Stream.provideContext(events as Stream.Stream<E, RedisError.RedisError>, service))
      assert.include(yield* on(Redis.subscribe([])), "RedisArgumentError: SUBSCRIBE: give it at least one name")
      assert.include(yield* on(Redis.psubscribe("\ud800")), "RedisArgumentError")
      assert.include(yield* on(Redis.subscribe([1 as unknown as string])), "a string or a Uint8Array")
      const options = (wrong: unknown) => wrong as RedisPubSub.SubscribeOptions
      assert.include(yield* on(Redis.subscribe("a", options({ bufferMessages: 0 }))), "bufferMessages")
      assert.include(yield* on(Redis.subscribe("a", options({ bufferBytes: 0.5 }))), "bufferBytes")
      assert.include(yield* on(Redis.subscribe("a", options({ whenFull: "drop" }))), "whenFull")
      assert.include(yield* on(Redis.subscribe("a", options({ decode: "json" }))), "decode")
      assert.include(yield* on(Redis.subscribe("a", options({ bufer: 1 }))), "bufer")
      assert.include(yield* on(Redis.subscribe("a", options("bytes"))), "must be a record")
      assert.include(yield* on(Redis.subscribe("a", options({ schema: 1 }))), "`schema` must be a Schema")
    }).pipe(Effect.provide(Redis.layer({ port: 1 })))
  )
})

describe("a schema", () => {
  it.live("decodes payloads, and a message that does not fit fails its subscription", () =>
    Effect.gen(function* () {
      const Order = Schema.fromJsonString(Schema.Struct({ id: Schema.Number }))
      const ear = yield* listenLive(Redis.subscribe("orders", { schema: Order }))
      const raw = yield* listenLive(Redis.subscribe("orders"))
      yield* Redis.publish("orders", '{"id":7}')
      const event = yield* ear.next
      assert.ok(event._tag === "Message")
      assert.strictEqual(event.payload.id, 7)
      yield* Redis.publish("orders", "{}")
      assert.strictEqual(failureOf(yield* ear.ended)?._tag, "DecodeError")
      assert.deepStrictEqual(yield* take(raw, 2), ['orders: {"id":7}', "orders: {}"])
    }).pipe(Effect.provide(withServer()))
  )
})

describe("a full buffer", () => {
  /** A subscriber that reads when it is told to. */
  const slow = (options: RedisPubSub.SubscribeOptions) =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const ear = yield* listen(
        Redis.subscribe("c", options).pipe(
          Stream.tap((event) => (event._tag === "Message" ? Deferred.await(gate) : Effect.void))
        )
      )
      yield* take(ear, 1)
      return { ear, open: Deferred.succeed(gate, undefined) }
    })

  /** Publishes numbers, and waits until another subscriber, which is not slow, has them all. */
  const flood = (count: number, bytes = 1) =>
    Effect.gen(function* () {
      const payloads = Array.from({ length: count }, (_, i) => String(i).padStart(bytes, "0"))
      const fast = yield* listenLive(Redis.subscribe("c", { bufferMessages: 1_000_000, bufferBytes: 1e9 }))
      yield* Redis.pipeline(payloads.map((payload) => ["PUBLISH", "c", payload]))
      const got = yield* Effect.all(payloads.map(() => fast.next))
      assert.deepStrictEqual(
        got.map((event) => (event._tag === "Message" ? event.payload : event._tag)),
        payloads
      )
    })

  /** What a subscriber was told: ranges of numbers, and gaps. */
  const told = (events: ReadonlyArray<RedisPubSub.Event>): ReadonlyArray<string> => {
    const out: Array<string> = []
    for (const event of events) {
      if (event._tag === "Gap") out.push(`dropped ${event.dropped}`)
      if (event._tag !== "Message") continue
      const n = Number(event.payload)
      const last = out.at(-1)?.split("-")
      if (last?.length === 2 && Number(last[1]) === n - 1) out[out.length - 1] = `${last[0]}-${n}`
      else out.push(`${n}-${n}`)
    }
    return out
  }

  const sizeOf = (events: ReadonlyArray<string>): number =>
    events.reduce((sum, each) => {
      const [from, to] = each.split("-").map(Number)
      return sum + (to === undefined ? Number(each.slice("dropped ".length)) : to - (from ?? 0) + 1)
    }, 0)

  for (const [whenFull, shape] of [
    ["dropOldest", /^0-(\d+) dropped \d+ \d+-4999$/],
    ["dropNewest", /^0-(\d+) dropped \d+$/],
    ["fail", /^0-(\d+)$/],
    ["suspend", /^0-4999$/]
  ] as const) {
    it.live(`with ${whenFull} delays and loses nothing for others, and says exactly what it costs`, () =>
      Effect.gen(function* () {
        const { ear, open } = yield* slow({ whenFull, bufferMessages: 100 })
        yield* flood(5000)
        yield* open
        const events: Array<RedisPubSub.Event> = []
        if (whenFull === "fail") {
          assert.strictEqual(failureOf(yield* ear.ended)?._tag, "SubscriberOverflow")
          events.push(...(yield* ear.rest))
        } else {
          while (sizeOf(told(events)) < 5000) events.push(yield* ear.next)
          assert.strictEqual(sizeOf(told(events)), 5000)
        }
        assert.match(told(events).join(" "), shape)
        // What was being read, and then what the buffer holds.
        const first = Number(/^0-(\d+)/.exec(told(events)[0] ?? "")?.[1])
        if (whenFull === "dropNewest" || whenFull === "fail") assert.isAtMost(first, 200)
      }).pipe(Effect.provide(withServer()))
    )
  }

  it.live("suspend has a connection of its own, whose silence means nothing while it is not read", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* Effect.gen(function* () {
        const { ear, open } = yield* slow({ whenFull: "suspend", bufferMessages: 10 })
        const payload = "x".repeat(10_000)
        yield* Redis.pipeline(Array.from({ length: 2000 }, () => ["PUBLISH", "c", payload]))
        const clients = String(yield* server.command(["CLIENT", "LIST", "TYPE", "pubsub"]))
        const kept = Number(/ omem=(\d+)/.exec(clients)?.[1])
        assert.isAbove(kept, 1_000_000, "the server keeps what is not read")
        yield* Effect.sleep(200)
        yield* open
        for (let i = 0; i < 2000; i++) assert.strictEqual((yield* ear.next)._tag, "Message")
        yield* ear.stop
        yield* awaitKnown([])
      }).pipe(Effect.provide(Redis.layer({ url: server.url, healthCheckInterval: 20 })))
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("of the server's is a gap whose cause names the limit", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* Effect.gen(function* () {
        const started = Date.now()
        const ear = yield* listenLive(Redis.subscribe("c"))
        const payload = "x".repeat(64 * 1024)
        yield* Redis.transaction(Array.from({ length: 100 }, () => ["PUBLISH", "c", payload]))
        const gap = yield* ear.next
        assert.ok(gap._tag === "Gap")
        assert.include(gap.cause?.message, "client-output-buffer-limit")
        assert.isAtMost(gap.since, Date.now())
        assert.isAtLeast(gap.since, started)
        assert.deepStrictEqual(yield* take(ear, 1), ["Resubscribed c"])
      }).pipe(Effect.provide(Redis.layer({ url: server.url, ...eager })))
    }).pipe(Effect.provide(RedisServer.layer({ config: { "client-output-buffer-limit": "pubsub 1mb 1mb 0" } })))
  )
})

describe("PUBSUB-041 any order of subscribing, ending, publishing and kills", () => {
  for (const protocol of protocols) {
    it.live(`leaves the server with what is subscribed, and tells what was published meanwhile (RESP${protocol})`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.RedisServer
        yield* Effect.gen(function* () {
          const random = new Random(protocol)
          const ears = new Map<string, Effect.Success<ReturnType<typeof channel>>>()
          const channel = (name: string) => listenLive(Redis.subscribe(name))
          for (let step = 0; step < 150; step++) {
            const name = random.pick("foo", "bar", "baz")
            const ear = ears.get(name)
            switch (random.below(4)) {
              case 0: {
                if (ear === undefined) ears.set(name, yield* channel(name))
                break
              }
              case 1: {
                ears.delete(name)
                yield* ear?.stop ?? Effect.void
                break
              }
              case 2: {
                yield* awaitKnown([...ears.keys()])
                assert.strictEqual(yield* Redis.publish(name, step), ear === undefined ? 0 : 1)
                if (ear !== undefined) assert.deepStrictEqual(yield* take(ear, 1), [`${name}: ${step}`])
                break
              }
              default: {
                yield* awaitKnown([...ears.keys()])
                yield* server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
                for (const [name, ear] of ears) {
                  assert.deepStrictEqual(yield* take(ear, 2), ["Gap disconnected", `Resubscribed ${name}`])
                }
              }
            }
            yield* awaitKnown([...ears.keys()])
            for (const ear of ears.values()) assert.deepStrictEqual(yield* ear.rest, [])
          }
        }).pipe(Effect.scoped, Effect.provide(Redis.layer({ url: server.url, protocol, ...eager })))
      }).pipe(Effect.provide(RedisServer.layer()))
    )
  }
})

describe("large numbers", () => {
  it.live("10 000 channels, and a second loss in the middle of subscribing them again", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const proxy = yield* FaultProxy.make(server)
      yield* Effect.gen(function* () {
        const names = Array.from({ length: 10_000 }, (_, i) => `c${i}`)
        const ear = yield* listenLive(Redis.subscribe(names))
        // All of them are some 400 000 bytes of acknowledgements.
        const cut = yield* proxy.inject(Fault.cut({ direction: "toClient", afterBytes: 100_000, how: "rst", times: 1 }))
        yield* killSubscribers
        yield* cut.awaitHit
        assert.deepStrictEqual([(yield* ear.next)._tag, (yield* ear.next)._tag], ["Gap", "Resubscribed"])
        yield* Redis.publish("c9999", "1")
        yield* Redis.publish("c0", "2")
        assert.deepStrictEqual(yield* take(ear, 2), ["c9999: 1", "c0: 2"])
        yield* ear.stop
        yield* awaitKnown([])
      }).pipe(Effect.provide(Redis.layer({ port: proxy.port, ...eager })))
    }).pipe(Effect.provide(RedisServer.layer()))
  )

  it.live("10 000 subscribers of one channel", () =>
    Effect.gen(function* () {
      let got = 0
      const done = yield* Deferred.make<void>()
      const ready = yield* Deferred.make<void>()
      let live = 0
      yield* Effect.forEach(
        Array.from({ length: 10_000 }),
        () =>
          Redis.subscribe("c").pipe(
            Stream.runForEach((event) => {
              if (event._tag === "Subscribed")
                return ++live === 10_000 ? Deferred.succeed(ready, undefined) : Effect.void
              return ++got === 30_000 ? Deferred.succeed(done, undefined) : Effect.void
            }),
            Effect.forkScoped
          ),
        { discard: true }
      )
      yield* Deferred.await(ready)
      for (let i = 0; i < 3; i++) assert.strictEqual(yield* Redis.publish("c", i), 1)
      yield* Deferred.await(done)
      assert.strictEqual(got, 30_000)
    }).pipe(Effect.scoped, Effect.provide(withServer()))
  )
})

describe("a connection for pub/sub", () => {
  it.live("asks for the credentials anew for each session", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make({
        users: { app: "on >one ~* &* +@all", default: "on nopass ~* &* +@all" }
      })
      let current = "one"
      const asked: Array<string> = []
      const password = Effect.sync(() => {
        asked.push(current)
        return Redacted.make(current)
      })
      yield* Effect.gen(function* () {
        yield* awaitState("ready")
        const ear = yield* listenLive(Redis.subscribe("c"))
        current = "two"
        yield* server.command(["ACL", "SETUSER", "app", "resetpass", ">two"])
        yield* server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
        assert.deepStrictEqual(yield* take(ear, 2), ["Gap disconnected", "Resubscribed c"])
        assert.deepStrictEqual(asked, ["one", "one", "two"])
      }).pipe(Effect.provide(Redis.layer({ port: server.port, username: "app", password, ...eager })))
    })
  )

  it.live("PUBSUB-037 is reached by a URL, over TLS, and under a tag of its own", () =>
    Effect.gen(function* () {
      class Bulk extends Redis.Tag<Bulk>()("test/Bulk") {}
      const server = yield* RedisServer.make({ tls: true })
      yield* Effect.gen(function* () {
        const ear = yield* listenLive(Bulk.subscribe("c"))
        yield* Bulk.publish("c", "hello")
        assert.deepStrictEqual(yield* take(ear, 1), ["c: hello"])
      }).pipe(Effect.provide(Bulk.layer({ url: server.url, tls: { ca: server.tls?.ca } })))
    })
  )

  it.live("under a name is followed from one connection to the next", () =>
    Effect.gen(function* () {
      const Cache = Redis.Name("cache")
      const { url } = yield* RedisServer.RedisServer
      const supervisor = yield* Supervisor.start(
        Supervisor.make({ children: [Redis.childSpec({ id: "cache", register: Cache, url })] })
      )
      yield* Effect.gen(function* () {
        const ear = yield* listenLive(Redis.subscribe("c"))
        yield* Redis.publish("c", "1")
        assert.deepStrictEqual(yield* take(ear, 1), ["c: 1"])
        yield* supervisor.terminateChild("cache")
        assert.deepStrictEqual(yield* take(ear, 1), ["Gap disconnected"])
        yield* supervisor.restartChild("cache")
        assert.deepStrictEqual(yield* take(ear, 1), ["Resubscribed c"])
        yield* Redis.publish("c", "2")
        assert.deepStrictEqual(yield* take(ear, 1), ["c: 2"])
        const [root] = (yield* supervisor.whichChildren).map(({ process }) => process)
        yield* root?.exit({ _tag: "Kill" }) ?? Effect.die("not started")
        assert.deepStrictEqual(yield* take(ear, 2), ["Gap disconnected", "Resubscribed c"])
      }).pipe(Effect.provide(Redis.layerNamed(Cache)))
    }).pipe(Effect.provide(Layer.merge(Registry.layer, RedisServer.layer())), Effect.scoped)
  )

  it.live("CLIENT-026 does not take the commands of the other one, nor its replies", () =>
    Effect.gen(function* () {
      const ear = yield* listenLive(Redis.subscribe("message"))
      yield* Redis.command(["RPUSH", "list", "message", "message", "x"])
      assert.deepStrictEqual(yield* Redis.command(["LRANGE", "list", 0, -1]), ["message", "message", "x"])
      const [count, value] = yield* Redis.pipeline([
        ["PUBLISH", "message", "self"],
        ["GET", "none"]
      ])
      assert.deepStrictEqual([count, value], [1, null])
      assert.deepStrictEqual(yield* take(ear, 1), ["message: self"])
      assert.deepStrictEqual(yield* Redis.command(["PUBSUB", "NUMSUB", "message"]), ["message", 1])
      assert.deepStrictEqual(yield* ear.rest, [])
    }).pipe(Effect.provide(withServer()))
  )

  it.live("CLIENT-028 a subscriber that fails or dies takes nobody with it", () =>
    Effect.gen(function* () {
      const good = yield* listenLive(Redis.subscribe("c"))
      const started = yield* Deferred.make<void>()
      const bad = (how: () => Effect.Effect<void, string>) =>
        Redis.subscribe("c").pipe(
          Stream.runForEach((event) => (event._tag === "Subscribed" ? Deferred.succeed(started, undefined) : how())),
          Effect.exit,
          Effect.forkScoped({ startImmediately: true })
        )
      const failing = yield* bad(() => Effect.fail("no"))
      const dying = yield* bad(() => {
        throw new Error("thrown in a handler")
      })
      yield* Deferred.await(started)
      yield* Redis.publish("c", "1")
      assert.strictEqual((yield* Fiber.join(failing))._tag, "Failure")
      assert.strictEqual((yield* Fiber.join(dying))._tag, "Failure")
      assert.deepStrictEqual(yield* take(good, 1), ["c: 1"])
      for (let i = 0; i < 3; i++) assert.strictEqual(yield* Redis.command(["PING", i]), String(i))
      yield* Redis.publish("c", "2")
      assert.deepStrictEqual(yield* take(good, 1), ["c: 2"])
    }).pipe(Effect.scoped, Effect.provide(withServer()))
  )
})

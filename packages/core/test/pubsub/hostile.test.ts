/** What a subscription does when the server, the network or the program around it is at its worst. */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, type RedisOptions } from "@relive/core"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { awaitState, eager, submit } from "../behaviours/support.ts"
import { awaitKnown, listen, listenLive, take } from "./support.ts"

const { array, bulk, handshake } = FakeServer

const ack = (protocol: 2 | 3, [verb = "", name = ""]: ReadonlyArray<string>): string =>
  protocol === 3
    ? `>3\r\n${bulk(verb.toLowerCase())}${bulk(name)}:1\r\n`
    : array(bulk(verb.toLowerCase()), bulk(name), ":1\r\n")

const reasonOf = (exit: Exit.Exit<unknown, RedisError.RedisError>) => {
  if (Exit.isSuccess(exit)) return undefined
  const fail = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  return fail?.error.reason
}

const withServer = (options: RedisOptions.Options = {}) =>
  Layer.provideMerge(
    Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, ...eager, ...options }))),
    RedisServer.layer()
  )

const protocols = [2, 3] as const

describe("a subscription that is not confirmed", () => {
  it.live("fails when its time is over, and says why nobody was there", () =>
    Effect.gen(function* () {
      const start = performance.now()
      const ear = yield* listen(Redis.subscribe("c", { timeout: 60 }))
      const reason = reasonOf(yield* ear.ended)
      assert.ok(reason?._tag === "TimeoutError")
      assert.isAtLeast(performance.now() - start, 60)
      assert.deepStrictEqual(
        [reason.phase, reason.delivery, reason.command, reason.timeoutMillis],
        ["queued", "unsent", "SUBSCRIBE", 60]
      )
      assert.include(reason.message, "no session was ready. The last failure")
      assert.include(reason.message, "127.0.0.1:1")
      assert.deepStrictEqual(yield* ear.rest, [])
    }).pipe(Effect.provide(Redis.layer({ port: 1, ...eager })))
  )

  it.effect("has the timeout of its connection, which is never early", () =>
    Effect.gen(function* () {
      // The server accepts, and never says a word.
      const fake = yield* FakeServer.make((connection) => connection.silent)
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.forkScoped(Effect.exit(Stream.runDrain(Redis.psubscribe("c*"))), {
          startImmediately: true
        })
        const patient = yield* Effect.forkScoped(
          Effect.exit(Stream.runDrain(Redis.subscribe("c", { timeout: "infinite" }))),
          { startImmediately: true }
        )
        yield* TestClock.adjust(1999)
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust(50)
        const reason = reasonOf(yield* Fiber.join(fiber))
        assert.ok(reason?._tag === "TimeoutError")
        assert.deepStrictEqual([reason.command, reason.timeoutMillis], ["PSUBSCRIBE", 2000])
        yield* TestClock.adjust(100_000)
        assert.isUndefined(patient.pollUnsafe())
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, timeout: 2000 })))
    })
  )

  for (const protocol of protocols) {
    it.live(`by a server that took the command may have been, and is ended there (RESP${protocol})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make()
        yield* Effect.gen(function* () {
          yield* submit(Effect.flatMap(fake.connection(0), (first) => first.serve(handshake)))
          const ear = yield* listen(Redis.subscribe("c", { timeout: 100 }))
          const server = yield* fake.connection(1)
          yield* server.answer(handshake)
          yield* server.expect(["SUBSCRIBE", "c"])
          const reason = reasonOf(yield* ear.ended)
          assert.ok(reason?._tag === "TimeoutError")
          assert.deepStrictEqual([reason.phase, reason.delivery], ["written", "unknown"])
          yield* server.send(ack(protocol, ["subscribe", "c"]))
          yield* server.expect(["UNSUBSCRIBE", "c"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, protocol, healthCheckInterval: "infinite", ...eager })))
      })
    )
  }

  it.live("keeps to its time, however often the connection is lost meanwhile, and one that was never does", () =>
    Effect.gen(function* () {
      let willing = true
      const fake = yield* FakeServer.make((connection) =>
        connection.serve(handshake, (command) =>
          /SUBSCRIBE/.test(command[0] ?? "") ? (willing ? ack(3, command) : "-LOADING not now\r\n") : undefined
        )
      )
      yield* Effect.gen(function* () {
        const old = yield* listenLive(Redis.subscribe("old", { timeout: 100 }))
        willing = false
        yield* (yield* fake.connection(1)).close
        assert.deepStrictEqual(yield* take(old, 1), ["Gap disconnected"])
        yield* Effect.sleep(300)
        assert.deepStrictEqual(yield* old.rest, [])
        willing = true
        assert.deepStrictEqual(yield* take(old, 1), ["Resubscribed old"])
      }).pipe(Effect.provide(Redis.layer({ port: fake.port, ...eager })))
    })
  )

  it.live("of our own: what is no timeout", () =>
    Effect.gen(function* () {
      const ear = yield* listen(Redis.subscribe("c", { timeout: -1 }))
      const reason = reasonOf(yield* ear.ended)
      assert.ok(reason?._tag === "RedisArgumentError")
      assert.include(reason.message, "timeout")
    }).pipe(Effect.provide(Redis.layer({ port: 1 })))
  )
})

describe("a server that does not acknowledge all", () => {
  for (const protocol of protocols) {
    it.live(`of a set that is subscribed again is left for the next session (RESP${protocol})`, () =>
      Effect.gen(function* () {
        let mute = false
        const fake = yield* FakeServer.make((connection) =>
          connection.serve(handshake, (command) => {
            if (!/SUBSCRIBE/.test(command[0] ?? "")) return undefined
            return mute && command[1] === "b" ? "" : ack(protocol, command)
          })
        )
        yield* Effect.gen(function* () {
          const ear = yield* listenLive(Redis.subscribe(["a", "b"]))
          mute = true
          yield* (yield* fake.connection(1)).close
          yield* fake.connection(3)
          mute = false
          // One gap, and nothing is said to be whole before.
          assert.deepStrictEqual(yield* take(ear, 2), ["Gap disconnected", "Resubscribed a b"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, protocol, healthCheckInterval: 100, ...eager })))
      })
    )
  }
})

describe("a line that is no reply to what was asked", () => {
  for (const protocol of protocols) {
    it.live(`in the place of PONG ends the session, and proves nothing (RESP${protocol})`, () =>
      Effect.gen(function* () {
        let oddAt = 0
        const odd: FakeServer.Handler = ([name], { index }) => {
          if (name !== "PING" || index !== 1 || oddAt === 0) return undefined
          return "+OK\r\n"
        }
        const fake = yield* FakeServer.make((connection) =>
          connection.serve(
            (command, state) => (/SUBSCRIBE/.test(command[0] ?? "") ? ack(protocol, command) : odd(command, state)),
            handshake
          )
        )
        yield* Effect.gen(function* () {
          const ear = yield* listenLive(Redis.subscribe("c"))
          // `since` is below: nothing of what is published from now on is proven.
          oddAt = Date.now()
          const gap = yield* ear.next
          assert.ok(gap._tag === "Gap" && gap.cause?.reason._tag === "ConnectionError")
          assert.strictEqual(gap.cause.reason.kind, "protocol")
          assert.isAtMost(gap.since, oddAt)
          assert.deepStrictEqual(yield* take(ear, 1), ["Resubscribed c"])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, protocol, healthCheckInterval: 50, ...eager })))
      })
    )

    it.live(`in the place of an acknowledgement ends the session (RESP${protocol})`, () =>
      Effect.gen(function* () {
        const fake = yield* FakeServer.make((connection) =>
          connection.serve(handshake, (command, { index }) => {
            if (!/SUBSCRIBE/.test(command[0] ?? "")) return undefined
            return index === 1 && command[1] === "b" ? "+OK\r\n" : ack(protocol, command)
          })
        )
        yield* Effect.gen(function* () {
          const ear = yield* listenLive(Redis.subscribe(["a", "b"]))
          assert.strictEqual(yield* fake.accepted, 3)
          assert.deepStrictEqual(yield* ear.rest, [])
        }).pipe(Effect.provide(Redis.layer({ port: fake.port, protocol, healthCheckInterval: "infinite", ...eager })))
      })
    )
  }
})

describe("channels and patterns that match the same messages, in text and in bytes", () => {
  for (const protocol of protocols) {
    it.live(`tell each subscriber its own, in order (RESP${protocol})`, () =>
      Effect.gen(function* () {
        const text = yield* listenLive(Redis.subscribe(["c1", "c2"]))
        const again = yield* listenLive(Redis.subscribe(["c2", "c1"]))
        const one = yield* listenLive(Redis.subscribe("c1"))
        const bytes = yield* listenLive(Redis.subscribe("c1", { decode: "bytes" }))
        const pattern = yield* listenLive(Redis.psubscribe("c*"))
        const both = yield* listenLive(Redis.psubscribe(["c*", "*1"]))
        const count = 300
        yield* Redis.pipeline(Array.from({ length: count }, (_, i) => ["PUBLISH", i % 3 === 0 ? "c2" : "c1", `${i}`]))
        const all = Array.from({ length: count }, (_, i) => `${i % 3 === 0 ? "c2" : "c1"}: ${i}`)
        const ones = all.filter((each) => each.startsWith("c1"))
        assert.deepStrictEqual(yield* take(text, count), all)
        assert.deepStrictEqual(yield* take(again, count), all)
        assert.deepStrictEqual(yield* take(one, ones.length), ones)
        assert.deepStrictEqual(
          yield* take(bytes, ones.length),
          ones.map((each) => `c1: <${[...Buffer.from(each.slice(4))].join(" ")}>`)
        )
        assert.deepStrictEqual(
          yield* take(pattern, count),
          all.map((each) => `c* ${each}`)
        )
        const told = yield* take(both, count + ones.length)
        for (const each of ["c*", "*1"]) {
          assert.deepStrictEqual(
            told.filter((event) => event.startsWith(`${each} `)),
            (each === "c*" ? all : ones).map((event) => `${each} ${event}`)
          )
        }
      }).pipe(Effect.provide(withServer({ protocol })))
    )
  }

  it.live("end the one that wants text at a payload that is none, after what came before it, and no one else", () =>
    Effect.gen(function* () {
      const text = yield* listenLive(Redis.subscribe("c"))
      const bytes = yield* listenLive(Redis.subscribe("c", { decode: "bytes" }))
      yield* Redis.pipeline([
        ["PUBLISH", "c", "1"],
        ["PUBLISH", "c", Uint8Array.of(255)],
        ["PUBLISH", "c", "3"]
      ])
      assert.deepStrictEqual(yield* take(text, 1), ["c: 1"])
      assert.strictEqual(reasonOf(yield* text.ended)?._tag, "DecodeError")
      assert.deepStrictEqual(yield* text.rest, [])
      assert.deepStrictEqual(yield* take(bytes, 3), ["c: <49>", "c: <255>", "c: <51>"])
      yield* Redis.publish("c", "4")
      assert.deepStrictEqual(yield* take(bytes, 1), ["c: <52>"])
    }).pipe(Effect.provide(withServer()))
  )
})

describe("a right that was taken away while the connection was lost", () => {
  for (const protocol of protocols) {
    it.live(`fails who wants the name, and gives up that one's other names (RESP${protocol})`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make({
          users: { app: "on >secret ~* &* +@all", default: "on nopass ~* &* +@all" }
        })
        const options = { port: server.port, username: "app", password: "secret", protocol, ...eager }
        yield* Effect.gen(function* () {
          // The server closes the connection by itself: that one may hear what it must not.
          const names = Array.from({ length: 50 }, (_, i) => `n${i}`)
          const partly = yield* listenLive(Redis.subscribe(["x", ...names, "secret", "y"]))
          const wholly = yield* listenLive(Redis.subscribe(names))
          yield* server.command([
            "ACL",
            "SETUSER",
            "app",
            "resetchannels",
            "&x",
            "&y",
            ...names.map((name) => `&${name}`)
          ])
          assert.deepStrictEqual(yield* take(partly, 1), ["Gap disconnected"])
          const reason = reasonOf(yield* partly.ended)
          assert.ok(reason?._tag === "ReplyError")
          assert.strictEqual(reason.code, "NOPERM")
          assert.deepStrictEqual(
            (yield* take(wholly, 2)).map((each) => each.split(" ")[0]),
            ["Gap", "Resubscribed"]
          )
          yield* awaitKnown(names).pipe(Effect.provideService(RedisServer.RedisServer, server))
          yield* Redis.publish("n49", "fine")
          assert.deepStrictEqual(yield* take(wholly, 1), ["n49: fine"])
        }).pipe(Effect.provide(Redis.layer(options)))
      })
    )
  }
})

describe("the end of an idle connection", () => {
  it.live("takes nobody with it who subscribes at that moment", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 200; i++) {
        const ear = yield* listenLive(Redis.subscribe("c", { timeout: 5000 }))
        yield* Redis.publish("c", `${i}`)
        assert.deepStrictEqual(yield* take(ear, 1), [`c: ${i}`])
        yield* ear.stop
        // About as long as it is kept: before, at, and after its end.
        yield* i % 4 === 0 ? Effect.yieldNow : Effect.sleep(i % 4)
      }
      yield* awaitKnown([])
    }).pipe(Effect.provide(withServer({ leaseIdle: 2 })))
  )
})

describe("10 000 subscribers", () => {
  const size = 10_000

  /** The most of what `count` counts between two looks of the event loop. A thousand are woken in a turn, and a look may miss one. */
  const inATurn = Effect.acquireRelease(
    Effect.sync(() => {
      const state = { most: 0, now: 0, isOver: false, count: () => void state.now++ }
      const look = (): void => {
        state.most = Math.max(state.most, state.now)
        state.now = 0
        if (!state.isOver) setImmediate(look)
      }
      setImmediate(look)
      return state
    }),
    (state) => Effect.sync(() => void (state.isOver = true))
  )

  /** They all listen; `onEvent` is told the tags of what they hear. */
  const listening = (nameOf: (i: number) => string, onEvent: (tag: string) => void) =>
    Effect.gen(function* () {
      const live = yield* Deferred.make<void>()
      let subscribed = 0
      const fibers: Array<Fiber.Fiber<void, RedisError.RedisError>> = []
      for (let i = 0; i < size; i++) {
        const listens = Stream.runForEach(Redis.subscribe(nameOf(i), { timeout: "infinite" }), ({ _tag }) => {
          if (_tag === "Subscribed" && ++subscribed === size) return Deferred.succeed(live, undefined)
          return Effect.sync(() => onEvent(_tag))
        })
        fibers.push(yield* Effect.forkScoped(listens))
      }
      yield* Deferred.await(live)
      return fibers
    })

  for (const [title, nameOf] of [
    ["of a channel each", (i: number) => `c${i}`],
    ["of one channel", () => "c0"]
  ] as const) {
    it.live(`${title} start, are told something, and stop at once, and hold up nobody`, () =>
      Effect.gen(function* () {
        const told = yield* Deferred.make<void>()
        const turn = yield* inATurn
        let heard = 0
        const fibers = yield* listening(nameOf, (tag) => {
          if (tag !== "Message") return
          turn.count()
          if (++heard === size) Deferred.doneUnsafe(told, Effect.void)
        })
        const names = [...new Set(Array.from({ length: size }, (_, i) => nameOf(i)))]
        yield* Redis.pipeline(names.map((name) => ["PUBLISH", name, "1"]))
        yield* Deferred.await(told)
        yield* Effect.forEach(fibers, (fiber) => Effect.sync(() => fiber.interruptUnsafe()), { discard: true })
        yield* Effect.forEach(fibers, Fiber.await, { discard: true })
        yield* awaitKnown([])
        assert.strictEqual(heard, size)
        assert.isAtMost(turn.most, 2048)
      }).pipe(Effect.provide(withServer()))
    )
  }

  it.live("are told of a loss and of the end, and hold up nobody", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const turn = yield* inATurn
      const lost = yield* Deferred.make<void>()
      let gaps = 0
      const fibers = yield* Effect.gen(function* () {
        const fibers = yield* listening(
          (i) => `c${i % 100}`,
          (tag) => {
            if (tag !== "Gap" || gaps === size) return
            turn.count()
            if (++gaps === size) Deferred.doneUnsafe(lost, Effect.void)
          }
        )
        for (const fiber of fibers) fiber.addObserver(turn.count)
        yield* server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
        yield* Deferred.await(lost)
        return fibers
      }).pipe(Effect.provide(Redis.layer({ port: server.port, ...eager })))
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      assert.isTrue(exits.every(Exit.isFailure))
      assert.isAtMost(turn.most, 2048)
    })
  )
})

describe("a close", () => {
  it.live("in the middle of a burst ends every subscription with a gap, and all that came before it", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const layer = Redis.layer({ port: server.port, ...eager })
      const ear = yield* Effect.gen(function* () {
        const heard = yield* listenLive(Redis.subscribe("c"))
        yield* awaitState("ready")
        yield* Redis.pipeline(Array.from({ length: 500 }, (_, i) => ["PUBLISH", "c", `${i}`]))
        assert.strictEqual((yield* take(heard, 1))[0], "c: 0")
        return heard
      }).pipe(Effect.provide(layer))
      assert.include(String(yield* ear.ended), "shutdown")
      const rest = (yield* ear.rest).map((event) => (event._tag === "Message" ? Number(event.payload) : event._tag))
      assert.strictEqual(rest.at(-1), "Gap")
      for (const [i, each] of rest.slice(0, -1).entries()) assert.strictEqual(each, i + 1)
    })
  )
})

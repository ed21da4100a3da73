import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, ExitReason, GenServer, Process, ProcessGroup, Registry, Supervisor } from "@relive/otp"
import { Deferred, Effect, Fiber, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"

/** A process that has joined the groups, and keeps what it receives. */
const member = (...groups: ReadonlyArray<unknown>) =>
  Effect.gen(function* () {
    const ready = yield* Deferred.make<void>()
    const received: Array<unknown> = []
    const body = Effect.gen(function* () {
      for (const group of groups) yield* ProcessGroup.join(group)
      yield* Deferred.succeed(ready, undefined)
      while (true) {
        const message = yield* Process.receive
        if (message._tag !== "Message") continue
        if (message.message === "leave") yield* ProcessGroup.leave(groups[0])
        else received.push(message.message)
      }
    })
    const process = yield* Process.spawn(body)
    yield* Deferred.await(ready)
    return { process, received }
  })

describe("ProcessGroup", () => {
  it.effect("members come and go; joining twice is joining once; a message reaches each member once", () =>
    Effect.gen(function* () {
      const a = yield* member("x", "x", ["room", 1])
      const b = yield* member("x")
      assert.deepStrictEqual(yield* ProcessGroup.members("x"), [a.process, b.process])
      assert.deepStrictEqual(yield* ProcessGroup.members(["room", 1]), [a.process])
      yield* ProcessGroup.broadcast("x", "hello")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual([a.received, b.received], [["hello"], ["hello"]])
      yield* a.process.send("leave")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* ProcessGroup.members("x"), [b.process])
      yield* b.process.exit(ExitReason.kill)
      assert.deepStrictEqual(yield* ProcessGroup.members("x"), [])
    }).pipe(Effect.provide(ProcessGroup.layer))
  )

  it.effect("events tell who joins, leaves and ends", () =>
    Effect.gen(function* () {
      const events = yield* Effect.forkChild(Stream.runCollect(Stream.take(ProcessGroup.events("x"), 4)), {
        startImmediately: true
      })
      const a = yield* member("x")
      yield* member("other")
      const b = yield* member("x")
      yield* a.process.send("leave")
      yield* TestClock.adjust(0)
      yield* b.process.exit(ExitReason.kill)
      assert.deepStrictEqual(
        Array.from(yield* Fiber.join(events), ({ _tag, process }) => [_tag, process]),
        [
          ["Joined", a.process],
          ["Joined", b.process],
          ["Left", a.process],
          ["Left", b.process]
        ]
      )
    }).pipe(Effect.provide(ProcessGroup.layer))
  )
})

describe("Registry.Tag", () => {
  class Second extends Registry.Tag<Second>()("test/Second", { keys: "duplicate" }) {}

  it.effect("is a registry of its own beside that of the tree", () =>
    Effect.gen(function* () {
      const name = Registry.name<string>("name")
      yield* Process.run(
        Effect.gen(function* () {
          yield* Registry.register(name, "tree")
          yield* Second.within(Registry.register(name, "second"))
          yield* Second.within(Registry.register(name, "again"))
          const values = (yield* Second.within(Registry.entries(name))).map(({ value }) => value)
          assert.deepStrictEqual(values, ["second", "again"])
          assert.strictEqual(yield* Registry.count, 1)
        })
      )
    }).pipe(Effect.provide([Registry.layer, Second.layer]))
  )
})

describe("names that are away for a moment", () => {
  interface Echo {
    readonly call: GenServer.Call<{ readonly _tag: "Echo" }, string>
    readonly cast: "crash"
  }

  const name = Registry.name<GenServer.Server<Echo>>("echo")

  const slowStart = GenServer.make<Echo, null>()({
    init: () => GenServer.ok(null),
    handleCall: { Echo: (_, state) => GenServer.reply("hi", state) },
    handleCast: () => Effect.die("crash")
  })

  const tree = Supervisor.make({
    intensity: 5,
    children: [
      ChildSpec.make({
        id: "echo",
        // Each instance needs a second before it has its name.
        start: Effect.andThen(Effect.sleep("1 second"), GenServer.init(slowStart, { name }))
      })
    ]
  })

  const started = Effect.gen(function* () {
    yield* TestClock.adjust(0)
    const starting = yield* Effect.forkChild(Supervisor.start(tree), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(starting)
  })

  const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

  it.effect("`whenAbsent: wait` bridges a restart within the call's timeout; without it the call fails at once", () =>
    Effect.gen(function* () {
      yield* started
      const patient = yield* GenServer.named(name, { whenAbsent: "wait" })
      const hasty = yield* GenServer.named(name)
      yield* patient.cast("crash")
      yield* TestClock.adjust("400 millis")
      assert.strictEqual((yield* Effect.flip(hasty.call({ _tag: "Echo" })))._tag, "NoProcess")
      const short = yield* fork(Effect.flip(patient.call({ _tag: "Echo" }, { timeout: 100 })))
      const long = yield* fork(patient.call({ _tag: "Echo" }, { timeout: 700 }))
      const endless = yield* fork(patient.call({ _tag: "Echo" }, { timeout: "infinity" }))
      yield* TestClock.adjust("100 millis")
      assert.strictEqual((yield* Fiber.join(short))._tag, "NoProcess")
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(yield* Fiber.join(long), "hi")
      assert.strictEqual(yield* Fiber.join(endless), "hi")
      assert.strictEqual(yield* patient.call({ _tag: "Echo" }), "hi")
    }).pipe(Effect.scoped, Effect.provide([Registry.layer, Logger.layer([])]))
  )
})

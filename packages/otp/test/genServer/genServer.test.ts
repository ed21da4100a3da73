import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, ExitReason, GenServer, Process, Registry, Supervisor } from "@relive/otp"
import { Context, Deferred, Effect, Exit, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"

interface Counter {
  readonly call:
    | GenServer.Call<{ readonly _tag: "Add"; readonly amount: number }, number, "negative">
    | GenServer.Call<{ readonly _tag: "Get" }, number>
    | GenServer.Call<{ readonly _tag: "Later" }, string, "never">
    | GenServer.Call<{ readonly _tag: "Hang" }, void>
    | GenServer.Call<{ readonly _tag: "Quit" }, "bye">
  readonly cast:
    | { readonly _tag: "Reset" }
    | { readonly _tag: "Crash" }
    | { readonly _tag: "Answer" }
    | { readonly _tag: "Throw" }
    | { readonly _tag: "Doze" }
    | { readonly _tag: "Watch"; readonly process: Process.Process }
  readonly continue: "boot"
}

interface State {
  readonly count: number
  readonly waiting: ReadonlyArray<GenServer.From<string, "never">>
}

class Step extends Context.Service<Step, { readonly size: number }>()("test/Step") {}

/** A server that keeps a log of what it went through. */
const counter = (log: Array<string> = [], more: { readonly trapExit?: boolean } = {}) =>
  GenServer.make<Counter, State>()({
    ...more,
    init: () =>
      Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Effect.sync(() => log.push("finalizer")))
        return GenServer.ok({ count: 0, waiting: [] }, { continue: "boot" })
      }),
    handleCall: {
      Add: ({ amount }, state) => {
        if (amount < 0) return GenServer.refuse("negative", state)
        const count = state.count + amount
        return GenServer.reply(count, { ...state, count })
      },
      Get: (_, state) => GenServer.reply(state.count, state),
      Later: (_, state, from) => GenServer.noReply({ ...state, waiting: [...state.waiting, from] }),
      Hang: () => Effect.never,
      Quit: (_, state) => GenServer.stopReply(ExitReason.normal, "bye", state)
    },
    handleCast: (message, state) =>
      Effect.gen(function* () {
        switch (message._tag) {
          case "Reset":
            return GenServer.noReply({ ...state, count: (yield* Step).size })
          case "Crash":
            return yield* Effect.fail("crashed")
          case "Throw":
            throw GenServer.noReply({ ...state, count: 99 })
          case "Doze":
            return GenServer.noReply(state, { timeout: "1 second" })
          case "Watch":
            yield* message.process.monitor
            return GenServer.noReply(state)
          case "Answer":
            for (const from of state.waiting.toReversed()) {
              yield* from.reply("late")
              yield* from.refuse("never")
            }
            return GenServer.noReply({ ...state, waiting: [] })
        }
      }),
    handleContinue: (message, state) => {
      log.push(message)
      return GenServer.noReply(state)
    },
    handleInfo: (info, state) => {
      log.push(info._tag === "Message" ? String(info.message) : info._tag)
      return GenServer.noReply(state)
    },
    terminate: (reason, state) => {
      log.push(`terminate ${ExitReason.format(reason)} ${state.count}`)
    }
  })

const start = (log?: Array<string>) => Effect.provideService(GenServer.start(counter(log)), Step, { size: 10 })

describe("calls", () => {
  it.effect("are replied to, refused with a typed error, and see the state of those before", () =>
    Effect.gen(function* () {
      const server = yield* start()
      assert.strictEqual(yield* server.call({ _tag: "Add", amount: 2 }), 2)
      assert.strictEqual(yield* server.call({ _tag: "Add", amount: 3 }), 5)
      assert.strictEqual(yield* Effect.flip(server.call({ _tag: "Add", amount: -1 })), "negative")
      yield* server.cast({ _tag: "Reset" })
      const count: number = yield* server.call({ _tag: "Get" })
      assert.strictEqual(count, 10)
    })
  )

  it.effect("time out after 5 seconds, and the request is handled nevertheless", () =>
    Effect.gen(function* () {
      const server = yield* start()
      const hanging = yield* Effect.forkChild(Effect.flip(server.call({ _tag: "Hang" })), { startImmediately: true })
      yield* TestClock.adjust(4999)
      assert.isUndefined(hanging.pollUnsafe())
      yield* TestClock.adjust(1)
      const error = yield* Fiber.join(hanging)
      assert.deepStrictEqual(
        [error._tag, error.message],
        ["CallTimeout", 'The server "server" did not answer within 5000 ms']
      )
    })
  )

  it.effect("can be replied to later, in any order; only the first reply counts", () =>
    Effect.gen(function* () {
      const server = yield* start()
      const later = server.call({ _tag: "Later" })
      const both = yield* Effect.forkChild(Effect.all([later, later], { concurrency: 2 }), { startImmediately: true })
      assert.strictEqual(yield* server.call({ _tag: "Get" }), 0)
      yield* server.cast({ _tag: "Answer" })
      assert.deepStrictEqual(yield* Fiber.join(both), ["late", "late"])
    })
  )

  it.effect("end with the reason of the server, whoever waits; then there is no server", () =>
    Effect.gen(function* () {
      const server = yield* start()
      const waiting = yield* Effect.forkChild(Effect.flip(server.call({ _tag: "Later" })), { startImmediately: true })
      yield* server.cast({ _tag: "Crash" })
      const error = yield* Fiber.join(waiting)
      assert.strictEqual(error === "never" ? error : error._tag, "ServerExit")
      assert.strictEqual((yield* Effect.flip(server.call({ _tag: "Get" })))._tag, "NoProcess")
      yield* server.cast({ _tag: "Reset" })
      yield* server.send("lost")
      assert.strictEqual((yield* Effect.flip(server.stop()))._tag, "NoProcess")
    })
  )

  it.effect("to the server itself fail at once", () =>
    Effect.gen(function* () {
      interface Narcissus {
        readonly call: GenServer.Call<{ readonly _tag: "Look" }, string>
      }
      const narcissus = GenServer.make<Narcissus, GenServer.Server<Narcissus>>()({
        init: (self) => GenServer.ok(self),
        handleCall: {
          Look: (_, self) =>
            Effect.map(Effect.flip(self.call({ _tag: "Look" })), (error) => GenServer.reply(error._tag, self))
        }
      })
      const server = yield* GenServer.start(narcissus)
      assert.strictEqual(yield* server.call({ _tag: "Look" }), "CallingSelf")
    })
  )

  it.effect("for which there is no handler crash the server", () =>
    Effect.gen(function* () {
      const server = yield* start()
      const untyped: { readonly call: (request: never) => Effect.Effect<unknown, { readonly _tag: string } | string> } =
        server
      const error = yield* Effect.flip(untyped.call({ _tag: "toString" } as never))
      assert.strictEqual(typeof error === "string" ? error : error._tag, "ServerExit")
    })
  )
})

describe("results", () => {
  it.effect("a continuation comes first, a thrown result counts, a stop replies after terminate", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const server = yield* start(log)
      yield* server.send("hello")
      yield* server.cast({ _tag: "Throw" })
      assert.strictEqual(yield* server.call({ _tag: "Get" }), 99)
      const bye = Effect.map(server.call({ _tag: "Quit" }), (reply) => log.push(reply))
      yield* bye
      assert.deepStrictEqual(log.slice(0, 3), ["boot", "hello", "terminate normal 99"])
      assert.include(log, "bye")
    })
  )

  it.effect("an idle timeout fires once, and any message cancels it", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const server = yield* start(log)
      yield* server.cast({ _tag: "Doze" })
      yield* TestClock.adjust(999)
      yield* server.send("a")
      yield* TestClock.adjust(5000)
      yield* server.cast({ _tag: "Doze" })
      yield* TestClock.adjust(5000)
      assert.deepStrictEqual(log, ["boot", "a", "Timeout"])
    })
  )

  it.effect("a handler that returns no result is a crash", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(
        GenServer.make<{ readonly cast: "x" }, number>()({
          init: () => GenServer.ok(0),
          handleCast: () => ({ state: 1 }) as never
        })
      )
      yield* server.cast("x")
      assert.strictEqual(server.process.exitReason?._tag, "Crash")
    })
  )

  it.effect("ends of watched processes are information; without a handler they are dropped", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const server = yield* start(log)
      const other = yield* GenServer.start(GenServer.make<{}, number>()({ init: () => GenServer.ok(0) }))
      yield* server.cast({ _tag: "Watch", process: other.process })
      yield* other.send("dropped")
      assert.isTrue(other.process.isAliveUnsafe)
      yield* other.stop({ reason: ExitReason.shutdown })
      assert.deepStrictEqual(log, ["boot", "Down"])
    })
  )
})

describe("starts", () => {
  const outcomes = (outcome: Effect.Effect<GenServer.InitResult<number>, unknown>) =>
    Effect.result(GenServer.start(GenServer.make<{}, number>()({ init: () => outcome })))

  it.effect("can be ignored, failed and crashed", () =>
    Effect.gen(function* () {
      const results = [
        yield* outcomes(Effect.succeed(GenServer.ignore)),
        yield* outcomes(Effect.succeed(GenServer.failed(ExitReason.shutdown))),
        yield* outcomes(Effect.fail("oops")),
        yield* outcomes(Effect.die("oops"))
      ]
      assert.deepStrictEqual(
        results.map((result) => (result._tag === "Failure" ? result.failure._tag : "started")),
        ["StartIgnored", "StartFailed", "StartFailed", "StartFailed"]
      )
    })
  )

  it.effect("an init that takes too long is killed, and so is one whose starter is interrupted", () =>
    Effect.gen(function* () {
      const killed: Array<boolean> = []
      const slow = GenServer.make<{}, number>()({
        init: (self) =>
          Effect.andThen(
            Effect.sync(() => void self.process.addObserver((reason) => killed.push(reason._tag === "Killed"))),
            Effect.never
          )
      })
      const late = yield* Effect.forkChild(Effect.flip(GenServer.start(slow, { timeout: "1 second" })))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(late))._tag, "StartTimeout")
      const interrupted = yield* Effect.forkChild(GenServer.start(slow), { startImmediately: true })
      yield* Fiber.interrupt(interrupted)
      assert.deepStrictEqual(killed, [true, true])
    })
  )

  it.effect("a name belongs to one server and is free at its end", () =>
    Effect.gen(function* () {
      const name = Registry.name<GenServer.Server<Counter>>("counter")
      const begin = Effect.provideService(GenServer.start(counter(), { name }), Step, { size: 1 })
      const named = yield* GenServer.named(name)
      assert.strictEqual((yield* Effect.flip(named.call({ _tag: "Get" })))._tag, "NoProcess")
      yield* named.cast({ _tag: "Reset" })
      assert.strictEqual((yield* Effect.flip(named.send("x")))._tag, "BadName")
      const first = yield* begin
      const taken = yield* Effect.flip(begin)
      assert.isTrue(taken._tag === "AlreadyStarted" && taken.process === first.process)
      assert.strictEqual(yield* named.call({ _tag: "Add", amount: 1 }), 1)
      yield* first.process.exit(ExitReason.kill)
      yield* begin
      assert.strictEqual(yield* named.call({ _tag: "Get" }), 0)
      yield* named.stop()
      assert.deepStrictEqual(yield* Registry.whereIs(name), Option.none())
    }).pipe(Effect.provide(Registry.layer))
  )
})

describe("linked starts", () => {
  const from = (message: Process.Message) =>
    message._tag === "Exit" ? ExitReason.format(message.reason) : message._tag

  /** Runs in a process and answers the result, and what exit signals it got by then. */
  const inProcess = <A, E>(effect: Effect.Effect<A, E, Process.Self>, trapExit: boolean) =>
    Effect.gen(function* () {
      const done = yield* Deferred.make<A, E>()
      const signals: Array<string> = []
      const listen: Effect.Effect<never, never, Process.Self> = Effect.flatMap(Process.receive, (message) => {
        signals.push(from(message))
        return listen
      })
      const process = yield* Process.spawn(Effect.andThen(Deferred.into(effect, done), listen), { trapExit })
      return { process, signals, done }
    })

  const begins: Array<GenServer.Server<{}>> = []
  const slow = GenServer.make<{}, number>()({
    init: (self) => {
      begins.push(self)
      return Effect.never
    }
  })

  it.effect("that take too long are unlinked before the kill; their starter lives", () =>
    Effect.gen(function* () {
      for (const trapExit of [false, true]) {
        const start = Effect.flip(GenServer.startLink(slow, { timeout: 10 }))
        const { done, process, signals } = yield* inProcess(start, trapExit)
        yield* TestClock.adjust(10)
        assert.strictEqual((yield* Deferred.await(done))._tag, "StartTimeout")
        yield* Effect.yieldNow
        assert.isTrue(process.isAliveUnsafe)
        assert.deepStrictEqual(signals, [])
      }
    })
  )

  it.effect("that are killed meanwhile tell a trapping starter once, by the result", () =>
    Effect.gen(function* () {
      const { done, signals } = yield* inProcess(Effect.flip(GenServer.startLink(slow)), true)
      yield* begins.at(-1)?.process.exit(ExitReason.kill) ?? Effect.void
      assert.strictEqual((yield* Deferred.await(done))._tag, "StartFailed")
      yield* Effect.yieldNow
      assert.deepStrictEqual(signals, [])
    })
  )

  it.effect("under a taken name send no signal", () =>
    Effect.gen(function* () {
      const name = Registry.name<GenServer.Server<{}>>("taken")
      const idle = GenServer.make<{}, number>()({ init: () => GenServer.ok(0) })
      yield* GenServer.start(idle, { name })
      const registry = yield* Registry.Registry
      const start = Effect.provideService(GenServer.startLink(idle, { name }), Registry.Registry, registry)
      const { done, signals } = yield* inProcess(Effect.flip(start), true)
      assert.strictEqual((yield* Deferred.await(done))._tag, "AlreadyStarted")
      yield* Effect.yieldNow
      assert.deepStrictEqual(signals, [])
    }).pipe(Effect.provide(Registry.layer))
  )

  it.effect(
    "a caller that is linked to the server ends with it; one that traps hears the result, the exit, the end",
    () =>
      Effect.gen(function* () {
        const calling = (trapExit: boolean) =>
          Effect.gen(function* () {
            const server = yield* start()
            const results: Array<string> = []
            const call = Effect.gen(function* () {
              yield* server.process.monitor
              yield* server.process.link
              const error = yield* Effect.flip(server.call({ _tag: "Hang" }))
              results.push(error._tag)
            })
            const { process, signals } = yield* inProcess(call, trapExit)
            yield* Effect.yieldNow
            yield* server.process.exit(ExitReason.shutdown)
            yield* server.process.exit(ExitReason.kill)
            yield* Effect.yieldNow
            return { alive: process.isAliveUnsafe, results, signals }
          })
        assert.deepStrictEqual(yield* calling(false), { alive: false, results: [], signals: [] })
        assert.deepStrictEqual(yield* calling(true), {
          alive: true,
          results: ["ServerExit"],
          signals: ["killed", "Down"]
        })
      })
  )
})

describe("bounded mailboxes", () => {
  interface Gated {
    readonly call: GenServer.Call<{ readonly _tag: "Pass" }, number>
    readonly cast: number
  }
  const gated = (mailbox: GenServer.MailboxOptions) =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const seen: Array<number> = []
      const server = yield* GenServer.start(
        GenServer.make<Gated, number>()({
          mailbox,
          init: () => GenServer.ok(0),
          handleCall: { Pass: (_, passed) => GenServer.reply(passed + 1, passed + 1) },
          handleCast: (number, passed) => {
            seen.push(number)
            return Effect.as(Deferred.await(gate), GenServer.noReply(passed))
          }
        })
      )
      yield* server.cast(0)
      return { server, seen, open: Deferred.succeed(gate, undefined) }
    })

  it.effect("make senders wait for room, in order; who goes away is not handled", () =>
    Effect.gen(function* () {
      const { open, seen, server } = yield* gated({ capacity: 1 })
      yield* server.cast(1)
      const fork = (effect: Effect.Effect<unknown, unknown>) => Effect.forkChild(effect, { startImmediately: true })
      const second = yield* fork(server.cast(2))
      const gone = yield* fork(server.cast(3))
      const call = yield* fork(server.call({ _tag: "Pass" }))
      const late = yield* fork(Effect.exit(server.call({ _tag: "Pass" }, { timeout: 10 })))
      assert.strictEqual(yield* server.depth, 5)
      yield* Fiber.interrupt(gone)
      yield* TestClock.adjust(10)
      yield* Fiber.join(late)
      assert.isUndefined(second.pollUnsafe())
      yield* server.send("gets in")
      yield* open
      assert.deepStrictEqual(yield* Fiber.join(call), 1)
      yield* Fiber.join(second)
      assert.deepStrictEqual(seen, [0, 1, 2])
      assert.strictEqual(yield* server.call({ _tag: "Pass" }), 2)
    })
  )

  it.effect("or refuse: calls fail, casts are lost and counted, by bytes too", () =>
    Effect.gen(function* () {
      const { open, seen, server } = yield* gated({ capacityBytes: 10, sizeOf: Number, whenFull: "fail" })
      yield* server.cast(6)
      yield* server.cast(5)
      yield* server.cast(4)
      assert.strictEqual(yield* server.lostCasts, 1)
      yield* open
      assert.deepStrictEqual(seen, [0, 6, 4])
    })
  )

  it.effect("tell waiting senders when the server ends", () =>
    Effect.gen(function* () {
      const { server } = yield* gated({ capacity: 1 })
      yield* server.cast(1)
      const cast = yield* Effect.forkChild(server.cast(2), { startImmediately: true })
      const call = yield* Effect.forkChild(Effect.flip(server.call({ _tag: "Pass" })), { startImmediately: true })
      yield* server.process.exit(ExitReason.kill)
      yield* Fiber.join(cast)
      assert.strictEqual((yield* Fiber.join(call))._tag, "ServerExit")
    })
  )
})

describe("as a child", () => {
  const name = Registry.name<GenServer.Server<Counter>>("counter")
  const tree = (log: Array<string>, settings: Partial<ChildSpec.Settings> = {}) =>
    Supervisor.start(
      Supervisor.make({
        intensity: 5,
        children: [ChildSpec.genServer({ id: "counter", server: counter(log), name, ...settings })]
      })
    )

  it.effect("is restarted with a new state and mailbox; the old handle is dead, the name is not", () =>
    Effect.gen(function* () {
      yield* tree([])
      const named = yield* GenServer.named(name)
      const first = yield* named.server
      yield* named.call({ _tag: "Add", amount: 7 })
      yield* named.cast({ _tag: "Crash" })
      yield* Effect.yieldNow
      assert.strictEqual(yield* named.call({ _tag: "Get" }), 0)
      assert.strictEqual((yield* Effect.flip(first.call({ _tag: "Get" })))._tag, "NoProcess")
      assert.strictEqual((yield* named.server).process.generation, 2)
    }).pipe(Effect.provideService(Step, { size: 1 }), Effect.provide(Registry.layer))
  )

  it.effect("finishes what it is at when it is shut down, and runs terminate; a kill does neither", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const stopped = yield* Effect.scoped(
        Effect.gen(function* () {
          yield* tree(log)
          const named = yield* GenServer.named(name)
          const call = yield* Effect.forkDetach(named.call({ _tag: "Add", amount: 3 }))
          return yield* Fiber.join(call)
        })
      )
      assert.strictEqual(stopped, 3)
      assert.deepStrictEqual(log, ["boot", "terminate shutdown 3", "finalizer"])

      const killed: Array<string> = []
      yield* Effect.scoped(tree(killed, { shutdown: "brutalKill" }))
      yield* Effect.yieldNow
      assert.deepStrictEqual(killed, ["boot", "finalizer"])
    }).pipe(Effect.provideService(Step, { size: 1 }), Effect.provide(Registry.layer))
  )

  it.effect("that does not end in time is killed", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const scope = yield* Effect.forkChild(
        Effect.scoped(
          Effect.gen(function* () {
            yield* tree(log, { shutdown: "1 second" })
            const named = yield* GenServer.named(name)
            yield* Effect.forkChild(Effect.exit(named.call({ _tag: "Hang" })), { startImmediately: true })
          })
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust(999)
      assert.isUndefined(scope.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(scope)))
      assert.deepStrictEqual(log, ["boot", "finalizer"])
    }).pipe(Effect.provideService(Step, { size: 1 }), Effect.provide(Registry.layer))
  )
})

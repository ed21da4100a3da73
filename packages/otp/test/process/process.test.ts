import { assert, describe, it } from "@effect/vitest"
import { ExitReason, Process, Registry } from "@relive/otp"
import { Cause, Deferred, Effect, Exit, Fiber, Option } from "effect"

const crash = ExitReason.crash("boom")

/** Receives for ever, without the yields of `Effect.forever`: what was sent has been seen when the sender goes on. */
const collect = (seen: Array<Process.Message>): Effect.Effect<never, never, Process.Self> =>
  Effect.flatMap(Process.receive, (message) => {
    seen.push(message)
    return collect(seen)
  })

/** A process that keeps what it receives. */
const listening = (options?: Process.SpawnOptions) =>
  Effect.gen(function* () {
    const seen: Array<Process.Message> = []
    const process = yield* Process.spawn(collect(seen), options)
    return { process, seen }
  })

/** Runs an effect in a new process and answers its result; the process goes on. */
const inProcess = <A, E, R>(effect: Effect.Effect<A, E, R>, options?: Process.SpawnOptions) =>
  Effect.gen(function* () {
    const result = yield* Deferred.make<A, E>()
    const process = yield* Process.spawn(
      Effect.andThen(
        Effect.onExit(effect, (exit) => Deferred.done(result, exit)),
        Effect.never
      ),
      options
    )
    return { process, result: yield* Deferred.await(result) }
  })

describe("ends", () => {
  it.effect("a body that returns is normal, a failure and a defect are crashes, exit has its reason", () =>
    Effect.gen(function* () {
      const reasonOf = (body: Effect.Effect<unknown, unknown>) =>
        Effect.flatMap(Process.spawn(body), (process) => process.awaitExit)
      assert.deepStrictEqual(yield* reasonOf(Effect.void), ExitReason.normal)
      assert.strictEqual((yield* reasonOf(Effect.fail("x")))._tag, "Crash")
      assert.strictEqual((yield* reasonOf(Effect.die("x")))._tag, "Crash")
      assert.deepStrictEqual(yield* reasonOf(Process.exit(ExitReason.shutdownWith(1))), ExitReason.shutdownWith(1))
      assert.strictEqual((yield* reasonOf(Effect.interrupt))._tag, "Crash")
    })
  )

  it.effect("the scope is closed before anybody hears of the end", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const process = yield* Process.spawn(
        Effect.andThen(
          Effect.addFinalizer(() => Effect.sync(() => log.push("closed"))),
          Effect.never
        )
      )
      process.addObserver((reason) => log.push(ExitReason.format(reason)))
      yield* process.exit(ExitReason.shutdown)
      assert.deepStrictEqual(log, ["closed", "shutdown"])
      assert.isFalse(yield* process.isAlive)
    })
  )
})

describe("signals", () => {
  it.effect("normal is ignored, others end, kill ends trapping processes too", () =>
    Effect.gen(function* () {
      const plain = yield* listening()
      yield* plain.process.exit(ExitReason.normal)
      assert.isTrue(plain.process.isAliveUnsafe)
      yield* plain.process.exit(crash)
      assert.strictEqual(plain.process.exitReason, crash)

      const trapping = yield* listening({ trapExit: true })
      yield* trapping.process.exit(ExitReason.normal)
      yield* trapping.process.exit(ExitReason.shutdown)
      assert.deepStrictEqual(
        trapping.seen.map((message) => message._tag),
        ["Exit", "Exit"]
      )
      yield* trapping.process.exit(ExitReason.kill)
      assert.deepStrictEqual(trapping.process.exitReason, ExitReason.killed)
    })
  )

  it.effect("a process can end itself with normal by a signal, and kill itself while it runs", () =>
    Effect.gen(function* () {
      const one = yield* Process.spawn(
        Effect.andThen(
          Effect.flatMap(Process.self, (self) => self.exit(ExitReason.normal)),
          Effect.never
        )
      )
      assert.deepStrictEqual(yield* one.awaitExit, ExitReason.normal)
      const two = yield* Process.spawn(
        Effect.andThen(
          Effect.flatMap(Process.self, (self) => self.exit(ExitReason.kill)),
          Effect.never
        )
      )
      assert.deepStrictEqual(yield* two.awaitExit, ExitReason.killed)
    })
  )

  it.effect("a kill waits for nobody, and what is left is fenced", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const name = Registry.name<string>("n")
      const late = yield* Deferred.make<Exit.Exit<void, unknown>>()
      const process = yield* Process.spawn(
        Effect.uninterruptible(
          Effect.gen(function* () {
            yield* Deferred.await(gate)
            yield* Deferred.succeed(late, yield* Effect.exit(Registry.register(name, "late")))
          })
        ),
        { id: "stubborn" }
      )
      yield* process.exit(ExitReason.kill)
      assert.deepStrictEqual(process.exitReason, ExitReason.killed)
      assert.strictEqual((yield* Process.liveFibers).filter((fiber) => fiber.path === process.path).length, 1)
      yield* Deferred.succeed(gate, undefined)
      assert.isTrue(Exit.isFailure(yield* Deferred.await(late)))
      assert.deepStrictEqual(yield* Registry.whereIs(name), Option.none())
    }).pipe(Effect.provide(Registry.layer))
  )
})

describe("links and monitors", () => {
  it.effect("an end goes over links until somebody traps it", () =>
    Effect.gen(function* () {
      const last = yield* listening({ trapExit: true })
      const middle = yield* inProcess(last.process.link)
      const first = yield* inProcess(middle.process.link)
      yield* first.process.exit(crash)
      assert.strictEqual(middle.process.exitReason, crash)
      assert.isTrue(last.process.isAliveUnsafe)
      assert.deepStrictEqual(last.seen, [{ _tag: "Exit", from: middle.process, reason: crash }])
    })
  )

  it.effect("a chain of 20 000 links costs no stack", () =>
    Effect.gen(function* () {
      let previous = yield* Process.spawn(Effect.never)
      const first = previous
      for (let i = 0; i < 20_000; i++) {
        previous = yield* Process.spawn(Effect.andThen(previous.link, Effect.never))
      }
      yield* first.exit(ExitReason.shutdown)
      assert.deepStrictEqual(previous.exitReason, ExitReason.shutdown)
    })
  )

  it.effect("linking to the dead is an error, or a message for those who trap", () =>
    Effect.gen(function* () {
      const dead = yield* Process.spawn(Effect.void)
      const plain = yield* inProcess(Effect.flip(dead.link))
      assert.strictEqual(plain.result._tag, "NoProcess")
      const trapping = yield* inProcess(Effect.andThen(dead.link, Process.receive), { trapExit: true })
      assert.deepStrictEqual(trapping.result, { _tag: "Exit", from: dead, reason: ExitReason.noProcess })
    })
  )

  it.effect("each monitor tells once, and not after demonitor", () =>
    Effect.gen(function* () {
      const watched = yield* Process.spawn(Effect.never)
      const seen: Array<Process.Message> = []
      yield* Process.spawn(
        Effect.gen(function* () {
          yield* watched.monitor
          const ref = yield* watched.monitor
          yield* watched.demonitor(ref)
          yield* collect(seen)
        })
      )
      yield* watched.exit(ExitReason.shutdown)
      assert.deepStrictEqual(
        seen.map((message) => (message._tag === "Down" ? message.reason : message._tag)),
        [ExitReason.shutdown]
      )
    })
  )
})

describe("fork", () => {
  it.effect("a failing helper ends its process with its cause; an ended process ends its helpers", () =>
    Effect.gen(function* () {
      const process = yield* Process.spawn(
        Effect.andThen(
          Process.fork(Effect.andThen(Effect.yieldNow, Effect.fail("helper")), { label: "h" }),
          Effect.never
        ),
        { trapExit: true }
      )
      const reason = yield* process.awaitExit
      assert.strictEqual(reason._tag === "Crash" ? Cause.squash(reason.cause) : undefined, "helper")

      const ended = yield* Deferred.make<void>()
      const other = yield* Process.spawn(
        Effect.flatMap(
          Process.fork(
            Effect.onExit(Effect.never, () => Deferred.succeed(ended, undefined)),
            { label: "h" }
          ),
          Fiber.join
        )
      )
      yield* other.exit(ExitReason.shutdown)
      yield* Deferred.await(ended)
      assert.deepStrictEqual(other.exitReason, ExitReason.shutdown)
    })
  )

  it.effect("every live fiber is listed, and none stays", () =>
    Effect.gen(function* () {
      const process = yield* Process.spawn(
        Effect.andThen(Process.fork(Effect.never, { label: "reader" }), Effect.never),
        { id: "listed" }
      )
      const labels = Effect.map(Process.liveFibers, (all) => all.map((fiber) => `${fiber.path}:${fiber.label}`))
      assert.deepStrictEqual(yield* labels, ["listed:main", "listed:reader"])
      yield* process.exit(ExitReason.shutdown)
      assert.deepStrictEqual(yield* labels, [])
    }).pipe(Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister)))
  )
})

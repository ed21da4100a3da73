/** The classic OTP program: a registry of buckets, a pool, a limiter, and a shutdown that drains. */
import { assert, describe, it } from "@effect/vitest"
import { ExitReason, GenServer, Process, TaskSupervisor, type Registry } from "@relive/otp"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as App from "../otp/app.ts"
import * as Buckets from "../otp/buckets.ts"
import * as Limiter from "../otp/limiter.ts"
import * as Pool from "../otp/pool.ts"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const live = App.live.pipe(Layer.provide(Logger.layer([])))

/** Lets work that needs no time happen. */
const settle = TestClock.adjust(0)

describe("buckets", () => {
  it.effect("come into being when asked for, one per name, and keep to themselves", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([Buckets.open("shopping"), Buckets.open("shopping")], {
        concurrency: "unbounded"
      })
      assert.strictEqual(a.process, b.process)
      yield* Buckets.put("shopping", "milk", 3)
      yield* Buckets.put("other", "milk", 1)
      assert.strictEqual(yield* Buckets.get("shopping", "milk"), 3)
    }).pipe(Effect.provide(live))
  )

  it.effect("one that crashed comes back empty, and hurts nobody", () =>
    Effect.gen(function* () {
      yield* Buckets.put("a", "k", 1)
      yield* Buckets.put("b", "k", 2)
      const { process } = yield* Buckets.open("a")
      yield* process.exit(ExitReason.kill)
      yield* settle
      assert.isUndefined(yield* Buckets.get("a", "k"))
      assert.strictEqual(yield* Buckets.get("b", "k"), 2)
    }).pipe(Effect.provide(live))
  )
})

describe("the pool", () => {
  const facts = Effect.gen(function* () {
    const { server } = yield* GenServer.named(Pool.name)
    return (yield* GenServer.inspect(yield* server)).process.details?.facts
  })

  it.effect("lends each worker to one caller, first come first served", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const borrow = Effect.scoped(Effect.tap(Pool.worker(1000), () => Deferred.await(gate)))
      const first = yield* fork(borrow)
      const second = yield* fork(borrow)
      const third = yield* fork(Effect.scoped(Pool.worker(1000)))
      assert.deepStrictEqual(yield* facts, { free: 0, waiting: 1 })
      yield* Deferred.succeed(gate, undefined)
      const workers = yield* Effect.forEach([first, second], Fiber.join)
      assert.deepStrictEqual(workers.toSorted(), [0, 1])
      yield* Fiber.join(third)
      assert.deepStrictEqual(yield* facts, { free: 2, waiting: 0 })
    }).pipe(Effect.provide(live))
  )

  it.effect("loses no worker to callers that time out, are interrupted, or die", () =>
    Effect.gen(function* () {
      yield* settle
      const holder = Effect.scoped(Effect.andThen(Pool.worker(1000), Effect.never))
      const holders = [yield* Process.spawn(holder), yield* Process.spawn(holder)]
      const late = yield* fork(Effect.exit(Effect.scoped(Pool.worker(100))))
      const patient = yield* Process.spawn(Effect.scoped(Pool.worker(60_000)))
      yield* TestClock.adjust(100)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(late)))
      yield* patient.exit(ExitReason.kill)
      for (const process of holders) yield* process.exit(ExitReason.kill)
      yield* settle
      assert.deepStrictEqual(yield* facts, { free: 2, waiting: 0 })
    }).pipe(Effect.provide(live))
  )
})

describe("the limiter", () => {
  it.effect("lets `limit` requests of a key through in a window", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Effect.all([Limiter.take("a"), Limiter.take("a"), Limiter.take("a")]), [2, 1, 0])
      assert.strictEqual((yield* Effect.flip(Limiter.take("a")))._tag, "LimitReached")
      assert.strictEqual(yield* Limiter.take("b"), 2)
      yield* TestClock.adjust(999)
      assert.strictEqual((yield* Effect.flip(Limiter.take("a")))._tag, "LimitReached")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Limiter.take("a"), 2)
    }).pipe(Effect.provide(live))
  )
})

describe("the shutdown", () => {
  it.effect("drains: jobs finish with the pool and the buckets still there, and new ones are refused", () =>
    Effect.gen(function* () {
      yield* settle
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(live, scope)
      const { context: services, done } = yield* Effect.provideContext(
        Effect.gen(function* () {
          const tasks = yield* TaskSupervisor.named(App.jobs)
          const done: Array<string> = []
          // More jobs than workers: they wait for one another.
          for (const user of ["a", "b", "c", "d"]) {
            const job = Effect.andThen(
              App.countWords(user, "one two"),
              Effect.map(Buckets.get(user, "words"), (words) => done.push(`${user} ${words}`))
            )
            yield* tasks.start(job)
          }
          return { context: yield* Effect.context<Registry.Registry>(), done }
        }),
        context
      )
      const closing = yield* fork(Scope.close(scope, Exit.void))
      const refused = yield* Effect.provideContext(
        Effect.flatMap(TaskSupervisor.named(App.jobs), (tasks) => Effect.flip(tasks.start(Effect.void))),
        services
      )
      assert.strictEqual(refused.reason, "Draining")
      yield* TestClock.adjust(10)
      yield* TestClock.adjust(10)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(done.toSorted(), ["a 2", "b 2", "c 2", "d 2"])
    })
  )

  it.effect("the whole program", () =>
    Effect.gen(function* () {
      yield* settle
      const running = yield* fork(Effect.provide(App.program, live))
      yield* TestClock.adjust(20)
      yield* TestClock.adjust(100)
      assert.isDefined(yield* Fiber.join(running))
    })
  )
})

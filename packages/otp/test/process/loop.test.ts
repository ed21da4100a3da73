import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, ExitReason, Registry, Supervisor } from "@relive/otp"
import { Effect, Exit, Fiber, Logger, Queue, Scheduler, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** A worker on a queue, in a tree that `stop` stops. */
const working = (options: { readonly shutdown?: ChildSpec.Shutdown; readonly lasting: number }) =>
  Effect.gen(function* () {
    yield* TestClock.adjust(0)
    const scope = yield* Scope.make()
    const jobs = yield* Queue.unbounded<number>()
    const begun: Array<number> = []
    const done: Array<number> = []
    const cut: Array<number> = []
    const spec = ChildSpec.loop({
      id: "worker",
      shutdown: options.shutdown,
      take: Queue.take(jobs),
      handle: (job) =>
        Effect.suspend(() => {
          begun.push(job)
          return Effect.onExit(Effect.sleep(options.lasting), (exit) =>
            Effect.sync(() => (Exit.isSuccess(exit) ? done : cut).push(job))
          )
        })
    })
    const ref = yield* Effect.provideService(
      Supervisor.start(Supervisor.make({ intensity: 9, children: [spec] })),
      Scope.Scope,
      scope
    )
    return { jobs, begun, done, cut, ref, stop: Scope.close(scope, Exit.void) }
  })

const quiet = Effect.provide([Registry.layer, Logger.layer([])])

describe("ChildSpec.loop", () => {
  it.effect("stops between two jobs: the one under way is finished, the next is left", () =>
    Effect.gen(function* () {
      const { begun, done, jobs, stop } = yield* working({ lasting: 1000 })
      yield* Queue.offerAll(jobs, [1, 2, 3])
      yield* TestClock.adjust(1500)
      const stopping = yield* fork(stop)
      yield* TestClock.adjust(499)
      assert.deepStrictEqual([begun, done], [[1, 2], [1]])
      yield* TestClock.adjust(1)
      yield* Fiber.join(stopping)
      assert.deepStrictEqual([begun, done, yield* Queue.size(jobs)], [[1, 2], [1, 2], 1])
    }).pipe(quiet)
  )

  it.effect("an idle worker stops at once", () =>
    Effect.gen(function* () {
      const { ref, stop } = yield* working({ lasting: 1 })
      const [child] = yield* ref.whichChildren
      yield* stop
      assert.deepStrictEqual(child?.process?.exitReason, ExitReason.shutdown)
    }).pipe(quiet)
  )

  it.effect("the last job is cut when the shutdown time is over, not before", () =>
    Effect.gen(function* () {
      const { cut, jobs, stop } = yield* working({ lasting: 60_000, shutdown: "2 seconds" })
      yield* Queue.offer(jobs, 1)
      yield* TestClock.adjust(10)
      const stopping = yield* fork(stop)
      yield* TestClock.adjust(1999)
      assert.deepStrictEqual(cut, [])
      yield* TestClock.adjust(1)
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(cut, [1])
    }).pipe(quiet)
  )

  it.effect("a job that fails is a crash; the next instance goes on; a stranger's signal ends it", () =>
    Effect.gen(function* () {
      const jobs = yield* Queue.unbounded<number>()
      const done: Array<number> = []
      const spec = ChildSpec.loop({
        id: "worker",
        take: Queue.take(jobs),
        handle: (job) => (job < 0 ? Effect.fail("bad job") : Effect.sync(() => done.push(job)))
      })
      const ref = yield* Supervisor.start(Supervisor.make({ intensity: 9, children: [spec] }))
      yield* Queue.offerAll(jobs, [1, -1, 2])
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(done, [1, 2])
      const [child] = yield* ref.whichChildren
      assert.strictEqual(child?.process?.generation, 2)
      yield* child?.process?.exit(ExitReason.crash("struck")) ?? Effect.void
      yield* TestClock.adjust(0)
      const [next] = yield* ref.whichChildren
      assert.strictEqual(next?.process?.generation, 3)
    }).pipe(Effect.scoped, quiet)
  )

  const small = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

  it.effect.prop(
    "no job is lost and none is cut, whenever the worker is stopped",
    { ops: small(3, 40), moment: small(0, 25), count: small(0, 6), lasting: small(0, 3) },
    ({ count, lasting, moment, ops }) =>
      Effect.gen(function* () {
        const { begun, cut, done, jobs, stop } = yield* working({ lasting, shutdown: "1 minute" })
        const offering = yield* fork(
          Effect.gen(function* () {
            for (let job = 0; job < count; job++) {
              yield* Queue.offer(jobs, job)
              yield* Effect.yieldNow
            }
          })
        )
        for (let i = 0; i < moment; i++) yield* i % 3 === 2 ? TestClock.adjust(1) : Effect.yieldNow
        const stopping = yield* fork(stop)
        yield* Fiber.join(offering)
        yield* TestClock.adjust(100)
        yield* Fiber.join(stopping)
        const left = yield* Queue.size(jobs)
        assert.deepStrictEqual(cut, [])
        assert.deepStrictEqual(begun, done)
        assert.strictEqual(done.length + left, count)
      }).pipe(quiet, Effect.provideService(Scheduler.MaxOpsBeforeYield, ops))
  )
})

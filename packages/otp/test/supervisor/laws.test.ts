/**
 * The laws of supervision under every interleaving the scheduler can be made to produce: fibers yield after each
 * `MaxOpsBeforeYield` operations, swept from 3 to 64, and the tree is interrupted after each number of turns.
 */
import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, DynamicSupervisor, ExitReason, Process, Registry, Supervisor } from "@relive/otp"
import { Clock, Deferred, Effect, Exit, Fiber, Logger, Schedule, Scheduler, Scope } from "effect"
import { TestClock } from "effect/testing"

const sweep = Array.from({ length: 62 }, (_, i) => i + 3)

/** Counts who lives, and notes whoever breaks a law. */
class Ledger {
  readonly alive = new Map<string, number>()
  readonly violations: Array<string> = []
  acquired = 0
  released = 0
  timers = 0

  enter(id: string): void {
    const count = (this.alive.get(id) ?? 0) + 1
    this.alive.set(id, count)
    this.acquired++
    if (count > 1) this.violations.push(`generations of ${id} overlap`)
  }

  leave(id: string): void {
    this.alive.set(id, (this.alive.get(id) ?? 0) - 1)
    this.released++
  }
}

/** A child with a slow start, helpers, a slow terminate and slow finalizers, that crashes after some turns. */
const busy = (ledger: Ledger, id: string, crashAfter: number, settings?: Partial<ChildSpec.Settings>) =>
  ChildSpec.make({
    ...settings,
    id,
    start: Effect.gen(function* () {
      yield* Effect.acquireRelease(
        Effect.sync(() => ledger.enter(id)),
        () =>
          Effect.andThen(
            Effect.yieldNow,
            Effect.sync(() => ledger.leave(id))
          )
      )
      yield* Effect.yieldNow
      yield* Process.fork(Effect.repeat(Effect.yieldNow, { times: 5 }), { label: "helper" })
      yield* Process.fork(
        Effect.onExit(Effect.never, () => Effect.yieldNow),
        { label: "slow helper" }
      )
      return ChildSpec.started({
        run: Effect.andThen(Effect.repeat(Effect.yieldNow, { times: crashAfter }), Effect.fail(`${id} crashed`)),
        terminate: () => Effect.repeat(Effect.yieldNow, { times: 2 })
      })
    })
  })

const tree = (ledger: Ledger) => {
  const waits = Schedule.spaced("10 millis")
  return Supervisor.make({
    strategy: "restForOne",
    intensity: 1_000_000,
    children: [
      busy(ledger, "a", 9),
      ChildSpec.supervisor({
        id: "in",
        supervisor: Supervisor.make({
          strategy: "oneForAll",
          intensity: 2,
          children: [busy(ledger, "x", 7), busy(ledger, "y", 5), busy(ledger, "z", 1000, { backoff: waits })]
        })
      }),
      ChildSpec.make({
        id: "dynamic",
        type: "supervisor",
        start: Effect.gen(function* () {
          const started = yield* Supervisor.init(DynamicSupervisor.make({ intensity: 1_000_000 }))
          yield* Process.fork(
            Effect.forEach(["p", "q", "r"], (id) => started.info.startChild(busy(ledger, id, 4)), { discard: true }),
            { label: "starter" }
          )
          return started
        })
      }),
      busy(ledger, "b", 3, { backoff: waits })
    ]
  })
}

/** The clock in use, with the number of sleeps under way. */
const countingTimers = <A, E, R>(ledger: Ledger, effect: Effect.Effect<A, E, R>) =>
  Clock.clockWith((clock) =>
    Effect.provideService(effect, Clock.Clock, {
      ...clock,
      sleep: (duration) =>
        Effect.acquireUseRelease(
          Effect.sync(() => ledger.timers++),
          () => clock.sleep(duration),
          () => Effect.sync(() => ledger.timers--)
        )
    })
  )

const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.provide(Logger.layer([])),
    Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister))
  )

const yieldingAfter = (ops: number) => Effect.provideService(Scheduler.MaxOpsBeforeYield, ops)

const turns = (count: number) => Effect.repeat(Effect.yieldNow, { times: count })

describe("laws", () => {
  // In parts, so that each has its time on a busy machine.
  it.effect.each([0, 1, 2, 3, 4, 5, 6, 7])(
    "generations never overlap and nothing is left, whenever the tree is stopped (part %i)",
    (part) =>
      Effect.gen(function* () {
        for (const ops of sweep.filter((_, index) => index % 8 === part)) {
          for (let step = 0; step < 80; step += 2 + (ops % 3)) {
            const ledger = new Ledger()
            yield* isolated(
              Effect.gen(function* () {
                const fiber = yield* Effect.forkChild(Supervisor.run(tree(ledger)), { startImmediately: true })
                yield* turns(step)
                if (step > 40) yield* TestClock.adjust("10 millis")
                yield* Fiber.interrupt(fiber)
                const where = `ops ${ops}, step ${step}`
                assert.deepStrictEqual(yield* Process.liveFibers, [], where)
                assert.deepStrictEqual(ledger.violations, [], where)
                assert.strictEqual(ledger.released, ledger.acquired, where)
                assert.strictEqual(ledger.timers, 0, where)
              }).pipe((effect) => countingTimers(ledger, effect), yieldingAfter(ops))
            )
          }
        }
      })
  )

  it.effect("a supervisor that gives up leaves nothing", () =>
    Effect.gen(function* () {
      for (const ops of sweep) {
        const ledger = new Ledger()
        const spec = Supervisor.make({
          intensity: 1,
          children: [busy(ledger, "a", 1000), busy(ledger, "b", 6), busy(ledger, "c", 4)]
        })
        yield* isolated(
          Effect.gen(function* () {
            const error = yield* Effect.flip(Supervisor.run(spec))
            assert.strictEqual(error._tag, "SupervisorExit")
            assert.deepStrictEqual(yield* Process.liveFibers, [])
            assert.deepStrictEqual(ledger.violations, [])
            assert.strictEqual(ledger.released, ledger.acquired)
          }).pipe(yieldingAfter(ops))
        )
      }
    })
  )

  it.effect("a killed child is replaced at once, and its resources are released nevertheless", () =>
    Effect.gen(function* () {
      for (const ops of sweep) {
        for (let step = 0; step < 30; step += 3) {
          const ledger = new Ledger()
          yield* isolated(
            Effect.gen(function* () {
              const ref = yield* Supervisor.start(
                Supervisor.make({ intensity: 1_000_000, children: [busy(ledger, "a", 1000)] })
              )
              yield* turns(step)
              const [before] = yield* ref.whichChildren
              yield* before?.process?.exit(ExitReason.kill) ?? Effect.void
              const [after] = yield* ref.whichChildren
              assert.deepStrictEqual(before?.process?.exitReason, ExitReason.killed)
              assert.strictEqual(after?.process?.generation, 2)
            }).pipe(Effect.scoped, Effect.provide(Registry.layer), yieldingAfter(ops))
          )
          yield* turns(20)
          assert.strictEqual(ledger.released, ledger.acquired, `ops ${ops}, step ${step}`)
          assert.strictEqual(ledger.acquired, 2)
        }
      }
    })
  )

  it.effect("an uninterruptible child is abandoned, listed and fenced, and holds nobody", () =>
    Effect.gen(function* () {
      for (const ops of sweep) {
        const gate = yield* Deferred.make<void>()
        const name = Registry.name<string>("late")
        const late: Array<Exit.Exit<void, unknown>> = []
        const ledger = new Ledger()
        const stubborn = ChildSpec.effect({
          id: "stubborn",
          shutdown: "1 second",
          run: Effect.uninterruptible(
            Effect.gen(function* () {
              yield* Deferred.await(gate)
              late.push(yield* Effect.exit(Registry.register(name, "late")))
            })
          )
        })
        yield* isolated(
          Effect.gen(function* () {
            const scope = yield* Scope.make()
            const ref = yield* Supervisor.start(
              Supervisor.make({ children: [busy(ledger, "a", 1000), stubborn, busy(ledger, "b", 1000)] })
            ).pipe(Scope.provide(scope))
            const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
            yield* turns(40)
            assert.isUndefined(closing.pollUnsafe(), "closed before the time was over")
            yield* TestClock.adjust("1 second")
            yield* Fiber.join(closing)
            assert.deepStrictEqual(ref.process.exitReason, ExitReason.shutdown)
            assert.strictEqual(ledger.released, ledger.acquired)
            const listed = (yield* ref.tree).children.filter((child) => child.state === "abandoned")
            assert.deepStrictEqual(
              listed.map((child) => child.id),
              ["stubborn"]
            )
            assert.deepStrictEqual(
              (yield* Process.liveFibers).map((fiber) => fiber.path),
              ["root/stubborn"]
            )
            yield* Deferred.succeed(gate, undefined)
            yield* turns(10)
            assert.isTrue(late.length === 1 && late.every(Exit.isFailure))
            assert.strictEqual(Registry.lookupUnsafe(yield* Registry.Registry, name), undefined)
            assert.deepStrictEqual(yield* Process.liveFibers, [])
          }).pipe(Effect.provide(Registry.layer), yieldingAfter(ops))
        )
      }
    })
  )
})

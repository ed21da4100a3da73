/** Calls that would wait for ever are refused, `startChild` has a timeout, and children find their tree. */
import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, DynamicSupervisor, ExitReason, GenServer, Process, Registry, Supervisor } from "@relive/otp"
import { Deferred, Effect, Fiber, Logger, Option, Scheduler } from "effect"
import { TestClock } from "effect/testing"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })
const idle = (id: string) => ChildSpec.effect({ id, run: Effect.never })

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.scoped(effect), [Registry.layer, Logger.layer([])])

describe("a call to one's own supervisor", () => {
  const dynamic = Supervisor.start(DynamicSupervisor.make())

  it.effect("while it starts the caller is refused, not hung", () =>
    quiet(
      Effect.gen(function* () {
        const ref = yield* dynamic
        const error = yield* ref
          .startChild(
            ChildSpec.make({
              id: "child",
              start: Effect.as(ref.startChild(idle("sibling")), ChildSpec.started({ run: Effect.never }))
            })
          )
          .pipe(Effect.flip)
        assert.strictEqual(error.reason._tag, "StartFailed")
        assert.include(error.message, "The supervisor waits for its caller's own start")
        assert.strictEqual((yield* ref.countChildren).active, 0)
      })
    )
  )

  it.effect("nor from a server that the starting child waits for, and from a grandchild", () =>
    quiet(
      Effect.gen(function* () {
        const ref = yield* dynamic
        let reason: string | undefined
        const asking = Effect.map(Effect.flip(ref.countChildren), (error) => {
          reason = error.reason._tag
        })
        const server = GenServer.make<{}, null>()({ init: () => Effect.as(asking, GenServer.ok(null)) })
        yield* ref.startChild(
          ChildSpec.make({
            id: "linked",
            start: Effect.as(GenServer.startLink(server), ChildSpec.started({ run: Effect.never }))
          })
        )
        assert.strictEqual(reason, "CallerStarting")
        reason = undefined
        const grandchild = ChildSpec.make({
          id: "grandchild",
          start: Effect.as(asking, ChildSpec.started({ run: Effect.never }))
        })
        const nested = Supervisor.make({ children: [grandchild] })
        yield* ref.startChild(ChildSpec.supervisor({ id: "nested", supervisor: nested }))
        assert.strictEqual(reason, "CallerStarting")
      })
    )
  )

  it.effect("a helper of the starting child waits for its turn, and so does the body", () =>
    quiet(
      Effect.gen(function* () {
        const ref = yield* dynamic
        const counts = yield* Deferred.make<number>()
        yield* ref.startChild(
          ChildSpec.make({
            id: "child",
            start: Effect.as(
              Process.fork(
                Effect.flatMap(ref.countChildren, ({ active }) => Deferred.succeed(counts, active)),
                { label: "counts" }
              ),
              ChildSpec.started({ run: Effect.andThen(ref.startChild(idle("sibling")), Effect.never) })
            )
          })
        )
        assert.isAtLeast(yield* Deferred.await(counts), 1)
        assert.strictEqual((yield* ref.countChildren).active, 2)
      })
    )
  )

  it.effect("while it stops the caller is refused as well", () =>
    quiet(
      Effect.gen(function* () {
        const ref = yield* dynamic
        let reason: string | undefined
        const child = ChildSpec.make({
          id: "child",
          shutdown: "infinity",
          start: Effect.succeed(
            ChildSpec.started({
              run: Effect.never,
              terminate: () =>
                Effect.map(Effect.flip(ref.countChildren), (error) => {
                  reason = error.reason._tag
                })
            })
          )
        })
        const { process } = yield* ref.startChild(child)
        if (process === undefined) throw new Error("unreachable")
        yield* ref.terminateChild(process)
        assert.strictEqual(reason, "CallerStopping")
      })
    )
  )
})

describe("the timeout of startChild", () => {
  it.effect("kills a start that takes too long, and the child does not come to life", () =>
    quiet(
      Effect.gen(function* () {
        const ref = yield* Supervisor.start(DynamicSupervisor.make())
        let alive = 0
        const slow = ChildSpec.scoped({
          id: "slow",
          acquire: Effect.delay(
            Effect.acquireRelease(
              Effect.sync(() => alive++),
              () => Effect.sync(() => alive--)
            ),
            "1 minute"
          )
        })
        const starting = yield* fork(Effect.flip(ref.startChild(slow, { timeout: "2 seconds" })))
        yield* TestClock.adjust("2 seconds")
        const error = yield* Fiber.join(starting)
        assert.deepStrictEqual(error.reason, { _tag: "Timeout", timeoutMillis: 2000 })
        // The supervisor serves others again at once.
        assert.strictEqual((yield* ref.startChild(idle("next"), { timeout: 10 }))._tag, "Started")
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual([alive, (yield* ref.countChildren).active], [0, 1])
      })
    )
  )

  it.effect("withdraws a request that has not had its turn", () =>
    quiet(
      Effect.gen(function* () {
        const ref = yield* Supervisor.start(Supervisor.make({ children: [] }))
        const slow = ChildSpec.scoped({ id: "slow", acquire: Effect.sleep("10 seconds") })
        yield* fork(ref.startChild(slow))
        const waiting = yield* fork(Effect.flip(ref.startChild(idle("late"), { timeout: "1 second" })))
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "Timeout")
        yield* TestClock.adjust("9 seconds")
        const ids = (yield* ref.whichChildren).map(({ id }) => id)
        assert.deepStrictEqual(ids, ["slow"])
      })
    )
  )

  it.effect("a start that is ready at that very moment is told as it is", () =>
    Effect.gen(function* () {
      for (let ops = 3; ops < 40; ops++) {
        yield* quiet(
          Effect.gen(function* () {
            const ref = yield* Supervisor.start(DynamicSupervisor.make())
            const ready = ChildSpec.scoped({ id: "ready", acquire: Effect.sleep(100) })
            const starting = yield* fork(Effect.exit(ref.startChild(ready, { timeout: 100 })))
            yield* TestClock.adjust(100)
            const exit = yield* Fiber.join(starting)
            const { active } = yield* ref.countChildren
            assert.strictEqual(active, exit._tag === "Success" ? 1 : 0, `ops ${ops}`)
          })
        ).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, ops))
      }
    })
  )
})

describe("a child finds its tree", () => {
  it.effect("the root is a service of the tree, its own supervisor and ancestors are those of the process", () =>
    Effect.gen(function* () {
      const seen = yield* Deferred.make<ReadonlyArray<unknown>>()
      const child = ChildSpec.effect({
        id: "child",
        run: Effect.gen(function* () {
          const root = yield* Supervisor.SupervisorRef
          const own = yield* Process.supervisor
          const above = yield* Process.ancestors
          const helper = yield* Process.run(Process.ancestors)
          yield* Deferred.succeed(seen, [
            root.process.path,
            Option.map(own, ({ process }) => process.path),
            above.map(({ path }) => path),
            helper.map(({ path }) => path),
            (yield* root.tree).children.map(({ id }) => id)
          ])
          return yield* Effect.never
        })
      })
      const nested = Supervisor.make({ children: [child] })
      const tree = Supervisor.make({ children: [ChildSpec.supervisor({ id: "nested", supervisor: nested })] })
      const running = yield* fork(Supervisor.run(tree, { id: "app" }))
      assert.deepStrictEqual(yield* Deferred.await(seen), [
        "app",
        Option.some("app/nested"),
        ["app/nested", "app"],
        ["app/nested/child", "app/nested", "app"],
        ["nested"]
      ])
      yield* Fiber.interrupt(running)
    })
  )

  it.effect("a child starts others through the root; one of a simple supervisor is told that it cannot", () =>
    quiet(
      Effect.gen(function* () {
        const child = ChildSpec.effect({
          id: "child",
          run: Effect.flatMap(Supervisor.SupervisorRef, (root) =>
            Effect.andThen(root.startChild(idle("second")), Effect.never)
          )
        })
        const ref = yield* Supervisor.start(Supervisor.make({ children: [child] }))
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(
          (yield* ref.whichChildren).map(({ id }) => id),
          ["second", "child"]
        )
        const refused = yield* Deferred.make<string>()
        const template = ChildSpec.template({
          id: "t",
          start: (n: number) =>
            Effect.succeed(
              ChildSpec.started({
                run: Effect.gen(function* () {
                  const root = yield* Supervisor.SupervisorRef
                  const error = yield* Effect.flip(root.startChild(idle(`x${n}`)))
                  yield* Deferred.succeed(refused, error.reason._tag)
                })
              })
            )
        })
        const simple = yield* Supervisor.start(Supervisor.simple({ children: [template] }), { id: "simple" })
        yield* simple.startChild(1)
        assert.strictEqual(yield* Deferred.await(refused), "SimpleOneForOne")
      })
    )
  )

  it.effect("a plain process and a root have no supervisor", () =>
    Effect.gen(function* () {
      assert.isTrue(Option.isNone(yield* Process.run(Process.supervisor)))
      assert.deepStrictEqual(yield* Process.run(Process.ancestors), [])
      const ended = yield* Process.spawn(Effect.void)
      assert.deepStrictEqual(ended.exitReason, ExitReason.normal)
    })
  )
})

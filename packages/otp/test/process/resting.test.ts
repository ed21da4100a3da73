import { assert, describe, layer } from "@effect/vitest"
import { ChildSpec, ExitReason, Process, Registry, Supervisor } from "@relive/otp"
import { Cause, Effect } from "effect"

/** A child that only holds something, and what becomes of it. */
const holder = (
  events: Array<string>,
  options?: { readonly run?: Effect.Effect<never>; readonly trapExit?: boolean }
) =>
  ChildSpec.make({
    id: "holder",
    ...(options?.trapExit !== undefined && { trapExit: options.trapExit }),
    start: Effect.gen(function* () {
      events.push("start")
      yield* Effect.addFinalizer((exit) => Effect.sync(() => events.push(`release ${exit._tag}`)))
      return ChildSpec.started({
        run: options?.run ?? Effect.never,
        info: yield* Process.self,
        terminate: (reason) => Effect.sync(() => events.push(`terminate ${reason._tag}`))
      })
    })
  })

/** The same body with a fiber: what a process without one must not differ from. */
const waits: Effect.Effect<never> = Effect.andThen(Effect.void, Effect.never)

const fibersOf = (path: string) =>
  Effect.map(Process.liveFibers, (fibers) => fibers.filter((fiber) => fiber.path === path).map(({ label }) => label))

const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Process.FiberRegister, Process.makeFiberRegister())

const ends: ReadonlyArray<readonly [string, (child: Process.Process) => Effect.Effect<void>]> = [
  ["a shutdown", (child) => child.exit(ExitReason.shutdown)],
  ["a kill", (child) => child.exit(ExitReason.kill)],
  ["a crash", (child) => child.exit(ExitReason.crash("reason"))],
  ["a normal exit, which is ignored", (child) => child.exit(ExitReason.normal)]
]

describe("a process whose body does nothing", () => {
  layer(Registry.layer)((it) => {
    it.effect("has no fiber, and is shown as any other", () =>
      isolated(
        Effect.gen(function* () {
          const events: Array<string> = []
          const ref = yield* Supervisor.start(Supervisor.make({ children: [holder(events)] }))
          assert.deepStrictEqual(yield* fibersOf("root/holder"), [])
          const [node] = (yield* ref.tree).children
          assert.deepInclude(node, { id: "holder", state: "running", generation: 1 })
          yield* ref.terminateChild("holder")
          assert.deepStrictEqual(events, ["start", "terminate Shutdown", "release Success"])
          yield* ref.restartChild("holder")
          assert.strictEqual((yield* ref.tree).children[0]?.generation, 2)
        })
      )
    )

    for (const [name, end] of ends) {
      for (const trapExit of [false, true]) {
        it.effect(`ends by ${name} as one with a fiber does (trapExit: ${trapExit})`, () =>
          Effect.gen(function* () {
            const seen = (run: Effect.Effect<never>) =>
              Effect.scoped(
                Effect.gen(function* () {
                  const events: Array<string> = []
                  const ref = yield* Supervisor.start(
                    Supervisor.make({ children: [holder(events, { run, trapExit })] })
                  )
                  const child = (yield* ref.tree).children[0]?.process
                  if (child !== undefined) yield* end(child)
                  yield* Effect.yieldNow
                  const [node] = (yield* ref.tree).children
                  return { events, generation: node?.generation, lastExit: node?.lastExit }
                })
              )
            assert.deepStrictEqual(yield* seen(Effect.never), yield* seen(waits))
          })
        )
      }
    }

    it.effect("ends with the cause of a helper that fails", () =>
      Effect.gen(function* () {
        const child = ChildSpec.make({
          id: "holder",
          restart: "temporary",
          start: Effect.gen(function* () {
            yield* Process.fork(Effect.andThen(Effect.yieldNow, Effect.die("bug")), { label: "helper" })
            return ChildSpec.started({ run: Effect.never, info: yield* Process.self })
          })
        })
        const ref = yield* Supervisor.start(Supervisor.make({ children: [] }))
        const started = yield* ref.startChild(child)
        assert.strictEqual(started._tag, "Started")
        const reason = started._tag === "Started" ? yield* started.process.awaitExit : undefined
        assert.deepStrictEqual(reason, ExitReason.crashCause(Cause.die("bug")))
      })
    )
  })
})

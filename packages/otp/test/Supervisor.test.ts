import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, Registry, Supervisor } from "@relive/otp"
import type { Scope } from "effect"
import { Deferred, Effect, Exit } from "effect"

/** A child that keeps a log of its life and ends when told. */
const scripted = (log: Array<string>, id: string, settings?: Partial<ChildSpec.Settings>) => {
  const child: { crash: (error: unknown) => void } = { crash: () => {} }
  const spec = ChildSpec.make({
    ...settings,
    id,
    start: Effect.gen(function* () {
      const told = yield* Deferred.make<never, unknown>()
      child.crash = (error) => Deferred.doneUnsafe(told, Exit.fail(error))
      log.push(`+${id}`)
      yield* Effect.addFinalizer(() => Effect.sync(() => log.push(`-${id}`)))
      return ChildSpec.started({ run: Deferred.await(told) })
    })
  })
  return Object.assign(child, { spec })
}

const withRegistry = <A, E>(effect: Effect.Effect<A, E, Scope.Scope | Registry.Registry>) =>
  Effect.scoped(effect).pipe(Effect.provide(Registry.layer))

describe("static supervisors", () => {
  it.effect("start in order, restart one, stop in reverse order when the scope closes", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const [a, b, c] = [scripted(log, "a"), scripted(log, "b"), scripted(log, "c")]
      yield* withRegistry(
        Effect.gen(function* () {
          const ref = yield* Supervisor.start(Supervisor.make({ children: [a.spec, b.spec, c.spec] }))
          assert.deepStrictEqual(log.splice(0), ["+a", "+b", "+c"])
          b.crash("boom")
          assert.deepStrictEqual(log.splice(0), ["-b", "+b"])
          const children = yield* ref.whichChildren
          assert.deepStrictEqual(
            children.map((child) => `${child.id}${child.process?.generation}`),
            ["c1", "b2", "a1"]
          )
        })
      )
      assert.deepStrictEqual(log, ["-c", "-b", "-a"])
    })
  )
})

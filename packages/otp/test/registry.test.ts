import { assert, describe, it } from "@effect/vitest"
import { ExitReason, Process, Registry } from "@relive/otp"
import { Deferred, Effect } from "effect"

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

describe("Registry", () => {
  it.effect("a name has one owner, and is free before a monitor hears of its end", () =>
    Effect.gen(function* () {
      const name = Registry.name<number>(["room", 1])
      const registry = yield* Registry.Registry
      const owner = yield* inProcess(Registry.register(name, 1))
      const second = yield* inProcess(Effect.flip(Registry.register(Registry.name<number>(["room", 1]), 2)))
      assert.strictEqual(second.result._tag, "AlreadyRegistered")
      assert.strictEqual(Registry.lookupUnsafe(registry, name), 1)
      let atEnd: unknown = "not called"
      owner.process.addObserver(() => (atEnd = Registry.lookupUnsafe(registry, name)))
      yield* owner.process.exit(ExitReason.kill)
      assert.isUndefined(atEnd)
      assert.strictEqual(yield* Registry.count, 0)
    }).pipe(Effect.provide(Registry.layer))
  )

  it.effect("owners are told when the registry stops", () =>
    Effect.gen(function* () {
      const [plain, trapping] = yield* Effect.scoped(
        Effect.gen(function* () {
          const registry = yield* Registry.make({ keys: "duplicate" })
          const register = Effect.provideService(
            Registry.register(Registry.name<number>("k"), 1),
            Registry.Registry,
            registry
          )
          const plain = yield* inProcess(register)
          const trapping = yield* inProcess(register, { trapExit: true })
          return [plain.process, trapping.process] as const
        })
      )
      assert.deepStrictEqual(plain.exitReason, ExitReason.shutdown)
      assert.isUndefined(trapping.exitReason)
    })
  )
})

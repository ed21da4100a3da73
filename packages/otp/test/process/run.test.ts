import { assert, describe, it } from "@effect/vitest"
import { ExitReason, Process } from "@relive/otp"
import { Effect, Exit, Fiber } from "effect"

describe("Process.run", () => {
  it.effect("keeps the value, the error and the defect", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Process.run(Effect.succeed(1)), 1)
      assert.strictEqual(yield* Effect.flip(Process.run(Effect.fail("mine" as const))), "mine")
      assert.deepStrictEqual(yield* Effect.exit(Process.run(Effect.die("bug"))), Exit.die("bug"))
    })
  )

  it.effect("is a process: it monitors, receives and has a path", () =>
    Effect.gen(function* () {
      const down = yield* Process.run(
        Effect.gen(function* () {
          const other = yield* Process.spawn(Effect.never)
          const ref = yield* other.monitor
          yield* other.exit(ExitReason.kill)
          const message = yield* Process.receive
          assert.strictEqual(message._tag === "Down" && message.ref, ref)
          return message
        }),
        { id: "test" }
      )
      assert.deepStrictEqual(down._tag === "Down" && down.reason, ExitReason.killed)
    })
  )

  it.effect("a process that ends otherwise fails with its reason", () =>
    Effect.gen(function* () {
      const exited = yield* Effect.flip(Process.run(Process.exit(ExitReason.crash("reason"))))
      assert.strictEqual(exited._tag, "ProcessExit")
      assert.deepStrictEqual(exited.reason, ExitReason.crash("reason"))
      const killed = yield* Effect.flip(
        Process.run(Effect.flatMap(Process.self, (self) => Effect.andThen(self.exit(ExitReason.kill), Effect.never)))
      )
      assert.deepStrictEqual(killed.reason, ExitReason.killed)
    })
  )

  it.effect("interrupting it ends the process, also one that traps exits, and closes its scope", () =>
    Effect.gen(function* () {
      let released = false
      let process: Process.Process | undefined
      const fiber = yield* Effect.forkChild(
        Process.run(
          Effect.gen(function* () {
            process = yield* Process.self
            yield* Effect.addFinalizer(() => Effect.sync(() => (released = true)))
            return yield* Effect.never
          }),
          { trapExit: true }
        ),
        { startImmediately: true }
      )
      yield* Fiber.interrupt(fiber)
      assert.isTrue(released)
      assert.deepStrictEqual(process?.exitReason, ExitReason.shutdown)
    })
  )
})

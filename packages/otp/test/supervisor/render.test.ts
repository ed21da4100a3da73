import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, Registry, Supervisor } from "@relive/otp"
import { Effect, Logger } from "effect"
import { TestClock } from "effect/testing"

describe("Supervisor.render", () => {
  it.effect("draws the tree with what is known of each process", () =>
    Effect.gen(function* () {
      let crashes = 0
      const flaky = ChildSpec.effect({
        id: "flaky",
        run: Effect.suspend(() => (++crashes < 3 ? Effect.die(new Error("no route")) : Effect.never))
      })
      const nested = Supervisor.make({ intensity: 5, children: [flaky] })
      const ref = yield* Supervisor.start(
        Supervisor.make({
          children: [
            ChildSpec.supervisor({ id: "workers", supervisor: nested }),
            ChildSpec.effect({ id: "done", restart: "transient", run: Effect.void })
          ]
        }),
        { id: "app" }
      )
      yield* TestClock.adjust(0)
      assert.strictEqual(
        Supervisor.render(yield* ref.tree),
        [
          "process      state    gen  restarts  mailbox  last exit",
          "app          running    1         0        0",
          "├─ workers   running    1         0        0",
          "│  └─ flaky  running    3         2           crash: Error: no route",
          "└─ done      stopped    1         0           normal"
        ].join("\n")
      )
    }).pipe(Effect.scoped, Effect.provide([Registry.layer, Logger.layer([])]))
  )
})

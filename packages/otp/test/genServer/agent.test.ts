import { assert, describe, it } from "@effect/vitest"
import { Agent, ChildSpec, GenServer, Registry, Supervisor } from "@relive/otp"
import { Effect, Logger } from "effect"

describe("Agent", () => {
  it.effect("keeps a state, and changes it in one turn", () =>
    Effect.gen(function* () {
      const agent = yield* GenServer.start(Agent.make(() => 1))
      assert.strictEqual(yield* Agent.get(agent), 1)
      yield* Agent.update(agent, (n) => n + 1)
      yield* Agent.cast(agent, (n) => n * 10)
      const text: string = yield* Agent.modify(agent, (n) => [`was ${n}`, n + 1])
      assert.strictEqual(text, "was 20")
      assert.strictEqual(yield* Agent.get(agent), 21)
      const adding = Effect.forEach(
        Array.from({ length: 100 }, () => Agent.update(agent, (n) => n + 1)),
        (add) => add,
        { concurrency: "unbounded", discard: true }
      )
      yield* adding
      assert.strictEqual(yield* Agent.get(agent), 121)
    })
  )

  it.effect("by its name; a change that throws restarts it with a new first state", () =>
    Effect.gen(function* () {
      const name = Registry.name<Agent.Agent<ReadonlyArray<string>>>("list")
      const list = Agent.make((): ReadonlyArray<string> => [])
      yield* Supervisor.start(Supervisor.make({ children: [ChildSpec.genServer({ id: "list", name, server: list })] }))
      const agent = yield* GenServer.named(name)
      yield* Agent.update(agent, (all) => [...all, "a"])
      const error = yield* Effect.flip(
        Agent.update(agent, () => {
          throw new Error("bug")
        })
      )
      assert.strictEqual(error._tag, "ServerExit")
      yield* Registry.awaitName(name)
      assert.deepStrictEqual(yield* Agent.get(agent), [])
    }).pipe(Effect.scoped, Effect.provide([Registry.layer, Logger.layer([])]))
  )
})

import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, ExitReason, GenServer, Process, Registry, Supervisor } from "@relive/otp"
import { Effect, Logger } from "effect"
import { TestClock } from "effect/testing"

interface Hanging {
  readonly call:
    | GenServer.Call<{ readonly _tag: "Set"; readonly value: number }, void>
    | GenServer.Call<{ readonly _tag: "Hang"; readonly secret: string }, void>
  readonly cast: { readonly _tag: "Note" }
}

const hanging = GenServer.make<Hanging, number>()({
  init: () => GenServer.ok(0),
  handleCall: {
    Set: ({ value }) => GenServer.reply(undefined, value),
    Hang: () => Effect.never
  },
  handleCast: (_, value) => GenServer.noReply(value),
  describe: (value) => ({ kind: "hanging server", facts: { value } })
})

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

describe("GenServer.inspect", () => {
  it.effect("shows state, mailbox, and what is in hand and for how long, of a server that hangs", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(hanging, { id: "hanging" })
      yield* server.call({ _tag: "Set", value: 7 })
      const idle = yield* GenServer.inspect(server)
      assert.deepStrictEqual([idle.state, idle.inHand, idle.depth, idle.openCalls], [7, undefined, 0, 0])
      yield* fork(server.call({ _tag: "Hang", secret: "s3cret" }, { timeout: "infinity" }))
      yield* server.cast({ _tag: "Note" })
      yield* TestClock.adjust("3 seconds")
      const busy = yield* GenServer.inspect(server)
      assert.deepStrictEqual(busy.inHand, { what: "call Hang", millis: 3000 })
      assert.deepStrictEqual([busy.state, busy.depth, busy.openCalls], [7, 1, 1])
      assert.deepStrictEqual(busy.process.handling, busy.inHand)
      assert.notInclude(JSON.stringify(busy.process), "s3cret")
      yield* server.process.exit(ExitReason.kill)
      const ended = yield* GenServer.inspect(server)
      assert.deepStrictEqual([ended.inHand, ended.depth, ended.process.state], [undefined, 0, "ended"])
      assert.deepStrictEqual(ended.process.exitReason, ExitReason.killed)
    })
  )
})

describe("Process.info", () => {
  it.effect("shows links, monitors, timers, the supervisor, and what the process tells of itself", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(hanging)
      const watcher = yield* Process.spawn(
        Effect.gen(function* () {
          yield* server.process.monitor
          yield* server.process.link
          yield* Process.describe(() => ({ kind: "watcher", facts: { watches: 1 } }))
          return yield* Effect.never
        }),
        { id: "watcher" }
      )
      const clumsy = yield* Process.spawn(
        Effect.andThen(
          Process.describe(() => {
            throw new TypeError("s3cret")
          }),
          Effect.never
        )
      )
      const told = (yield* Process.info(clumsy)).details
      assert.deepStrictEqual(told, { kind: "describe failed", facts: { error: "TypeError" } })
      yield* server.castAfter("1 hour", { _tag: "Note" })
      yield* watcher.send("waits")
      const info = yield* Process.info(server.process)
      assert.deepStrictEqual(info.links, [watcher])
      assert.deepStrictEqual(info.monitoredBy, [watcher])
      assert.deepStrictEqual([info.timers, info.state, info.trapExit], [1, "running", false])
      assert.deepStrictEqual(info.details, { kind: "hanging server", facts: { value: 0 } })
      const other = yield* Process.info(watcher)
      assert.deepStrictEqual([other.monitors, other.mailboxDepth], [[server.process], 1])
      assert.deepStrictEqual(other.details, { kind: "watcher", facts: { watches: 1 } })
      const tree = yield* Supervisor.start(
        Supervisor.make({ children: [ChildSpec.genServer({ id: "s", server: hanging })] })
      )
      const [child] = yield* tree.whichChildren
      if (child?.process === undefined) throw new Error("unreachable")
      assert.strictEqual((yield* Process.info(child.process)).supervisor, tree.process)
    }).pipe(Effect.scoped, Effect.provide([Registry.layer, Logger.layer([])]))
  )
})

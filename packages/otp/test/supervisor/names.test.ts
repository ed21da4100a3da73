/** Supervisors by name, and children that keep their types. */
import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, DynamicSupervisor, ExitReason, GenServer, Registry, Supervisor } from "@relive/otp"
import { Effect, Logger } from "effect"

interface Echo {
  readonly call: GenServer.Call<{ readonly _tag: "Echo"; readonly text: string }, string>
}

const echo = GenServer.make<Echo, null>()({
  init: () => GenServer.ok(null),
  handleCall: { Echo: ({ text }, state) => GenServer.reply(text, state) }
})

const workers = Registry.name<Supervisor.SupervisorRef>("workers")

const tree = Supervisor.make({
  intensity: 5,
  children: [ChildSpec.supervisor({ id: "workers", name: workers, supervisor: DynamicSupervisor.make() })]
})

const inTree = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.scoped(Effect.andThen(Supervisor.start(tree), effect)), [Registry.layer, Logger.layer([])])

describe("supervisors by name", () => {
  it.effect("are reached across restarts, and are gone in between", () =>
    inTree(
      Effect.gen(function* () {
        const named = yield* Supervisor.named(workers)
        yield* named.startChild(ChildSpec.effect({ id: "a", run: Effect.never }))
        assert.strictEqual((yield* named.countChildren).active, 1)
        const before = yield* named.ref
        yield* before.process.exit(ExitReason.kill)
        const after = yield* Registry.awaitName(workers)
        assert.notStrictEqual(after.process, before.process)
        assert.strictEqual((yield* named.ref).process, after.process)
        assert.strictEqual((yield* named.countChildren).active, 0)
      })
    )
  )

  it.effect("nobody with the name is noproc", () =>
    Effect.gen(function* () {
      const named = yield* Supervisor.named(workers)
      const error = yield* Effect.flip(named.whichChildren)
      assert.deepStrictEqual(error.reason, { _tag: "Exited", reason: ExitReason.noProcess })
    }).pipe(Effect.provide(Registry.layer))
  )

  it.effect("a name that is taken is a failed start that says so", () =>
    inTree(
      Effect.gen(function* () {
        const named = yield* Supervisor.named(workers)
        const second = ChildSpec.supervisor({ id: "again", name: workers, supervisor: DynamicSupervisor.make() })
        const error = yield* Effect.flip(named.startChild(second))
        assert.include(error.message, "The child failed to start")
        const { process } = yield* named.ref
        assert.strictEqual(error.reason._tag, "StartFailed")
        const direct = yield* Effect.flip(Supervisor.start(Supervisor.make({ children: [second] })))
        assert.strictEqual(direct.reason._tag, "FailedToStartChild")
        assert.include(direct.message, `The name workers belongs to "${process.path}"`)
      })
    )
  )

  it.effect("the name is there before the first child starts", () =>
    Effect.gen(function* () {
      const name = Registry.name<Supervisor.SupervisorRef>("early")
      let seen: string | undefined
      const child = ChildSpec.make({
        id: "child",
        start: Effect.gen(function* () {
          const named = yield* Supervisor.named(name)
          seen = (yield* named.ref).process.path
          return ChildSpec.started({ run: Effect.never })
        })
      })
      const nested = Supervisor.make({ children: [child] })
      yield* Supervisor.start(
        Supervisor.make({ children: [ChildSpec.supervisor({ id: "nested", name, supervisor: nested })] })
      )
      assert.strictEqual(seen, "root/nested")
    }).pipe(Effect.scoped, Effect.provide(Registry.layer))
  )
})

describe("children keep their types", () => {
  it.effect("startChild gives the child's own info; ignore is a case of its own", () =>
    inTree(
      Effect.gen(function* () {
        const named = yield* Supervisor.named(workers)
        const started = yield* named.startChild(ChildSpec.genServer({ id: "echo", server: echo }))
        if (started._tag === "Ignored") throw new Error("unreachable")
        // The type of `info` is that of the server: this line is the test.
        const text: string = yield* started.info.call({ _tag: "Echo", text: "hello" })
        assert.strictEqual(text, "hello")
        const acquired = yield* named.startChild(ChildSpec.scoped({ id: "n", acquire: Effect.succeed({ port: 1 }) }))
        const port: number | undefined = acquired.info?.port
        assert.strictEqual(port, 1)
        const ignored = yield* named.startChild(ChildSpec.make({ id: "no", start: Effect.succeed(ChildSpec.ignore) }))
        assert.deepStrictEqual(ignored, { _tag: "Ignored", process: undefined, info: undefined })
      })
    )
  )

  it.effect("instances of a template too", () =>
    Effect.gen(function* () {
      const template = ChildSpec.template({
        id: "room",
        start: (size: number) => Effect.succeed(ChildSpec.started({ run: Effect.never, info: { size } }))
      })
      const rooms = yield* Supervisor.start(Supervisor.simple({ children: [template] }))
      const { info } = yield* rooms.startChild(7)
      const size: number | undefined = info?.size
      assert.strictEqual(size, 7)
    }).pipe(Effect.scoped, Effect.provide(Registry.layer))
  )

  it.effect("whichChildren lists the info of running children", () =>
    inTree(
      Effect.gen(function* () {
        const named = yield* Supervisor.named(workers)
        yield* named.startChild(ChildSpec.scoped({ id: "n", acquire: Effect.succeed({ port: 1 }) }))
        const children = yield* named.whichChildren
        assert.deepStrictEqual(
          children.map(({ id, info }) => [id, info]),
          [["n", { port: 1 }]]
        )
      })
    )
  )

  it.effect("a child that registers a name goes into a dynamic supervisor without types being named", () =>
    inTree(
      Effect.gen(function* () {
        const name = Registry.name<string>("answer")
        const named = yield* Supervisor.named(workers)
        yield* named.startChild(
          ChildSpec.make({
            id: "registers",
            start: Effect.as(Registry.register(name, "42"), ChildSpec.started({ run: Effect.never }))
          })
        )
        assert.strictEqual(yield* Registry.awaitName(name), "42")
      })
    )
  )
})

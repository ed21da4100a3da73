/** What failed is seen: log lines with annotations, the last crash of a tree, metrics. */
import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, ExitReason, GenServer, Registry, Supervisor } from "@relive/otp"
import { Cause, Effect, Exit, Logger, Metric, References } from "effect"
import { TestClock } from "effect/testing"

interface Line {
  readonly text: string
  readonly annotations: Readonly<Record<string, unknown>>
}

/** What is logged while `effect` runs. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<Line> = []
    const logger = Logger.make(({ fiber, message }) => {
      const [text] = Array.isArray(message) ? message : [message]
      lines.push({ text: String(text), annotations: fiber.getRef(References.CurrentLogAnnotations) })
    })
    const exit = yield* Effect.exit(Effect.provide(effect, Logger.layer([logger])))
    return { exit, lines }
  })

interface Fragile {
  readonly call: GenServer.Call<{ readonly _tag: "Break"; readonly secret: string }, void>
  readonly cast: { readonly _tag: "Fall" } | "plain"
}

const fragile = GenServer.make<Fragile, null>()({
  init: () => GenServer.ok(null),
  handleCall: { Break: () => Effect.die(new Error("broken")) },
  handleCast: (message) => (message === "plain" ? Effect.die("plain") : Effect.fail("fell"))
})

const tree = <const Children extends ReadonlyArray<ChildSpec.ChildSpec<unknown, unknown>>>(children: Children) =>
  Supervisor.make({ intensity: 5, children })

describe("log lines", () => {
  it.effect("name the child, and what it was handling, without its payload", () =>
    Effect.gen(function* () {
      const { lines } = yield* logged(
        Effect.gen(function* () {
          const name = Registry.name<GenServer.Server<Fragile>>("fragile")
          yield* Supervisor.start(tree([ChildSpec.genServer({ id: "fragile", server: fragile, name })]))
          const server = yield* GenServer.named(name)
          yield* Effect.exit(server.call({ _tag: "Break", secret: "s3cret" }))
          yield* TestClock.adjust(0)
          yield* server.cast({ _tag: "Fall" })
          yield* TestClock.adjust(0)
          yield* server.cast("plain")
          yield* TestClock.adjust(0)
        }).pipe(Effect.scoped, Effect.provide(Registry.layer))
      )
      assert.deepStrictEqual(
        lines.map(({ text }) => text),
        [
          'Child "root/fragile" ended: crash: Error: broken, while handling call Break (generation 1, restarts 0)',
          'Child "root/fragile" ended: crash: fell, while handling cast Fall (generation 2, restarts 1)',
          'Child "root/fragile" ended: crash: plain, while handling cast (generation 3, restarts 2)'
        ]
      )
      assert.deepStrictEqual(lines[1]?.annotations, {
        "otp.child": "root/fragile",
        "otp.generation": 2,
        "otp.restarts": 1,
        "otp.reason": "crash: fell"
      })
      assert.notInclude(JSON.stringify(lines), "s3cret")
    })
  )

  it.effect("of a server without a supervisor too, and not after a handler that went well", () =>
    Effect.gen(function* () {
      const { lines } = yield* logged(
        Effect.gen(function* () {
          const server = yield* GenServer.start(fragile)
          yield* Effect.exit(server.call({ _tag: "Break", secret: "" }))
          const idle = yield* GenServer.start(fragile)
          yield* idle.process.exit(ExitReason.crash("from outside"))
          yield* idle.process.awaitExit
        })
      )
      assert.deepStrictEqual(
        lines.map(({ text }) => text),
        [
          'GenServer "server" ended: crash: Error: broken, while handling call Break',
          'GenServer "server" ended: crash: from outside'
        ]
      )
    })
  )
})

describe("the end of a tree", () => {
  const bomb = (id: string) => ChildSpec.effect({ id, run: Effect.die(new Error(`${id} broke`)) })

  it.effect("SupervisorExit has the last crash and its path, from however deep it came", () =>
    Effect.gen(function* () {
      const inner = Supervisor.make({ intensity: 1, children: [bomb("bomb")] })
      const spec = Supervisor.make({
        intensity: 1,
        children: [ChildSpec.supervisor({ id: "inner", supervisor: inner })]
      })
      const { exit, lines } = yield* logged(Supervisor.run(spec))
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      if (!(error instanceof Supervisor.SupervisorExit)) throw new Error("no SupervisorExit")
      assert.deepStrictEqual(error.reason, ExitReason.shutdown)
      assert.strictEqual(error.lastCrash?.path, "root/inner/bomb")
      assert.strictEqual((error.cause as Error).message, "bomb broke")
      assert.include(error.message, 'the last crash was that of "root/inner/bomb": crash: Error: bomb broke')
      assert.isAbove(lines.length, 2)
    })
  )

  it.effect("a tree that was stopped in order has none", () =>
    Effect.gen(function* () {
      const child = ChildSpec.effect({ id: "stops", significant: true, restart: "transient", run: Effect.void })
      const spec = Supervisor.make({ autoShutdown: "anySignificant", children: [child] })
      const error = yield* Effect.flip(Supervisor.run(spec))
      assert.deepStrictEqual(
        [error._tag, (error as Supervisor.SupervisorExit).lastCrash],
        ["SupervisorExit", undefined]
      )
    })
  )
})

describe("a transient child", () => {
  it.effect("is restarted when its end was a failure, whatever the failure, and not when it was planned", () =>
    Effect.gen(function* () {
      const ends = [Effect.fail("error"), Effect.die("defect"), Effect.interrupt, ExitReason.exit(ExitReason.killed)]
      let starts = 0
      const child = ChildSpec.effect({
        id: "child",
        restart: "transient",
        run: Effect.suspend((): Effect.Effect<void, string> => ends[starts++] ?? ExitReason.exit(ExitReason.shutdown))
      })
      const ref = yield* Supervisor.start(Supervisor.make({ intensity: 10, children: [child] }))
      yield* TestClock.adjust(0)
      assert.strictEqual(starts, 5)
      const [node] = (yield* ref.tree).children
      assert.deepStrictEqual([node?.state, node?.lastExit], ["stopped", ExitReason.shutdown])
    }).pipe(Effect.scoped, Effect.provide([Registry.layer, Logger.layer([])]))
  )
})

describe("metrics", () => {
  const series = Effect.map(Metric.snapshot, (all) =>
    Object.fromEntries(
      all
        .filter(({ id }) => id.startsWith("otp."))
        .map(({ attributes, id, state }) => [
          `${id} ${attributes?.["otp.supervisor"]}`,
          "count" in state ? state.count : "value" in state ? state.value : undefined
        ])
    )
  )

  const program = Effect.gen(function* () {
    let crashes = 0
    const restless = ChildSpec.effect({
      id: "restless",
      run: Effect.suspend(() => (++crashes <= 2 ? Effect.die("again") : Effect.never))
    })
    const slow = ChildSpec.genServer({
      id: "slow",
      server: GenServer.make<{ readonly cast: "work" }, null>()({
        init: () => GenServer.ok(null),
        handleCast: () => Effect.never
      })
    })
    const ref = yield* Supervisor.start(Supervisor.make({ intensity: 5, children: [restless, slow] }))
    const server = (yield* ref.whichChildren).find(({ id }) => id === "slow")?.process
    yield* TestClock.adjust(0)
    for (let i = 0; i < 4; i++) yield* server?.send("x") ?? Effect.void
    return yield* series
  }).pipe(
    Effect.scoped,
    Effect.provide([Registry.layer, Logger.layer([])]),
    Effect.provideServiceEffect(
      Metric.MetricRegistry,
      Effect.sync(() => new Map())
    )
  )

  it.effect("count restarts, crashes, children and messages of each supervisor, and are gone with it", () =>
    Effect.gen(function* () {
      const on = Effect.provideService(program, Supervisor.Telemetry, { metrics: true })
      const seen = yield* on
      assert.strictEqual(seen["otp.supervisor.restarts root"], 2)
      assert.strictEqual(seen["otp.supervisor.crashes root"], 2)
      assert.strictEqual(seen["otp.supervisor.children root"], 2)
      assert.isDefined(seen["otp.mailbox.depth root"])
    })
  )

  it.effect("are off by default", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* program, {})
    })
  )
})

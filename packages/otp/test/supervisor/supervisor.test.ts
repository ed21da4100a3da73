import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, DynamicSupervisor, ExitReason, Process, Registry, Supervisor } from "@relive/otp"
import {
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Option,
  Schedule,
  Scope,
  Stream
} from "effect"
import { TestClock } from "effect/testing"

/** A child that keeps a log of its life and ends when told. */
const scripted = (log: Array<string>, id: string, settings?: Partial<ChildSpec.Settings>) => {
  const child: { end: (how: Effect.Effect<never, unknown>) => void; spec: ChildSpec.ChildSpec } = {
    end: () => {},
    spec: ChildSpec.make({
      ...settings,
      id,
      start: Effect.gen(function* () {
        const told = yield* Deferred.make<never, unknown>()
        child.end = (how) => Deferred.doneUnsafe(told, how)
        log.push(`+${id}`)
        yield* Effect.addFinalizer(() => Effect.sync(() => log.push(`-${id}`)))
        return ChildSpec.started({ run: Deferred.await(told) })
      })
    })
  }
  return {
    spec: child.spec,
    crash: () => child.end(Effect.fail("boom")),
    exit: () => child.end(Process.exit(ExitReason.normal))
  }
}

const quiet = Logger.layer([])

/** A scope with a registry, no log, and a register of fibers that has to be empty in the end. */
const inTree = <A, E>(effect: Effect.Effect<A, E, Scope.Scope | Registry.Registry>) =>
  Effect.gen(function* () {
    const result = yield* Effect.exit(Effect.scoped(effect).pipe(Effect.provide([Registry.layer, quiet])))
    assert.deepStrictEqual(yield* Process.liveFibers, [])
    return yield* result
  }).pipe(Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister)))

const stateOf = (ref: Supervisor.SupervisorRef<never>, id: string) =>
  Effect.map(ref.tree, (tree) => tree.children.find((child) => child.id === id)?.state)

describe("static supervisors", () => {
  it.effect("start in order, restart one, stop in reverse order when the scope closes", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const [a, b, c] = [scripted(log, "a"), scripted(log, "b"), scripted(log, "c")]
      yield* inTree(
        Effect.gen(function* () {
          const ref = yield* Supervisor.start(Supervisor.make({ children: [a.spec, b.spec, c.spec] }))
          assert.deepStrictEqual(log.splice(0), ["+a", "+b", "+c"])
          b.crash()
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

  it.effect("children find the services of their supervisor, not those of the caller of startChild", () => {
    const Color = Context.Reference<string>("Color", { defaultValue: () => "none" })
    return inTree(
      Effect.gen(function* () {
        const seen: Array<string> = []
        const child = (id: string) =>
          ChildSpec.effect({
            id,
            run: Effect.andThen(
              Effect.map(Color, (c) => seen.push(c)),
              Effect.never
            )
          })
        const ref = yield* Effect.provideService(
          Supervisor.start(Supervisor.make({ children: [child("a")] })),
          Color,
          "supervisor"
        )
        yield* Effect.provideService(ref.startChild(child("b")), Color, "caller")
        assert.deepStrictEqual(seen, ["supervisor", "supervisor"])
      })
    )
  })

  it.effect("terminate runs after run was interrupted, while fibers of the scope still live", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const child = ChildSpec.make({
        id: "a",
        start: Effect.gen(function* () {
          const drained = yield* Deferred.make<void>()
          yield* Process.fork(
            Effect.andThen(
              Effect.sleep("1 second"),
              Effect.suspend(() => {
                log.push("drained")
                return Deferred.succeed(drained, undefined)
              })
            ),
            { label: "drain" }
          )
          return ChildSpec.started({
            run: Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("run interrupted"))),
            terminate: (reason) =>
              Effect.andThen(
                Deferred.await(drained),
                Effect.sync(() => log.push(`terminate ${ExitReason.format(reason)}`))
              )
          })
        })
      })
      yield* inTree(
        Effect.gen(function* () {
          const ref = yield* Supervisor.start(Supervisor.make({ children: [child] }))
          const stop = yield* Effect.forkChild(ref.terminateChild("a"), { startImmediately: true })
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(stop)
        })
      )
      assert.deepStrictEqual(log, ["run interrupted", "drained", "terminate shutdown"])
    })
  )

  it.effect("a finalizer that dies is logged, and holds up nobody", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make((entry) => {
        lines.push(String(Array.isArray(entry.message) ? entry.message[0] : entry.message))
      })
      const log: Array<string> = []
      const dies = ChildSpec.scoped({
        id: "dies",
        acquire: Effect.acquireRelease(Effect.void, () => Effect.die("finalizer"))
      })
      yield* Effect.gen(function* () {
        const ref = yield* Supervisor.start(Supervisor.make({ children: [scripted(log, "a").spec, dies] }))
        yield* ref.stop()
      }).pipe(Effect.scoped, Effect.provide([Registry.layer, Logger.layer([logger])]))
      assert.deepStrictEqual(lines, ['Process "root/dies": a finalizer failed'])
      assert.deepStrictEqual(log, ["+a", "-a"])
    })
  )

  it.effect("init makes the process of a child a supervisor, after what the child prepares", () =>
    inTree(
      Effect.gen(function* () {
        const log: Array<string> = []
        const name = Registry.name<string>("service")
        const registry = yield* Registry.Registry
        const part = scripted(log, "part")
        const child = ChildSpec.make({
          id: "connection",
          type: "supervisor",
          start: Effect.gen(function* () {
            yield* Registry.register(name, "mailbox")
            const started = yield* Supervisor.init(Supervisor.make({ children: [part.spec] }))
            return { ...started, info: "handle" }
          })
        })
        const ref = yield* Supervisor.start(Supervisor.make({ children: [] }))
        const started = yield* ref.startChild(
          ChildSpec.provideContext(child, Context.make(Registry.Registry, registry))
        )
        assert.strictEqual(started.info, "handle")
        assert.strictEqual(Registry.lookupUnsafe(registry, name), "mailbox")
        const tree = yield* ref.tree
        assert.deepStrictEqual(
          tree.children.map((node) => [node.path, node.type, node.state, node.children.map((part) => part.path)]),
          [["root/connection", "supervisor", "running", ["root/connection/part"]]]
        )
        part.crash()
        assert.strictEqual(Registry.lookupUnsafe(registry, name), "mailbox")
        assert.deepStrictEqual(log, ["+part", "-part", "+part"])
      })
    )
  )

  it.effect("a failing helper of a supervisor's process stops its children in order", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const fails = yield* Deferred.make<never, string>()
      const [a, b] = [scripted(log, "a"), scripted(log, "b")]
      const child = ChildSpec.make({
        id: "in",
        restart: "temporary",
        start: Effect.andThen(
          Process.fork(Deferred.await(fails), { label: "helper" }),
          Supervisor.init(Supervisor.make({ children: [a.spec, b.spec] }))
        )
      })
      yield* inTree(
        Effect.gen(function* () {
          const ref = yield* Supervisor.start(Supervisor.make({ children: [child] }))
          const [running] = yield* ref.whichChildren
          yield* Deferred.fail(fails, "lost")
          assert.deepStrictEqual(log, ["+a", "+b", "-b", "-a"])
          assert.strictEqual(running?.process?.exitReason?._tag, "Crash")
        })
      )
    })
  )
})

describe("the ways to run", () => {
  it.effect("run fails when the tree gives up, and stops it when interrupted", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const a = scripted(log, "a")
      const fiber = yield* Effect.forkChild(Supervisor.run(Supervisor.make({ intensity: 0, children: [a.spec] })), {
        startImmediately: true
      })
      a.crash()
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.strictEqual(error._tag, "SupervisorExit")
      const second = yield* Effect.forkChild(Supervisor.run(Supervisor.make({ children: [a.spec] })), {
        startImmediately: true
      })
      yield* Fiber.interrupt(second)
      assert.deepStrictEqual(log, ["+a", "-a", "+a", "-a"])
    }).pipe(Effect.provide(quiet))
  )

  it.effect("an interrupted start gives up the child that hangs and rolls back the others", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const a = scripted(log, "a")
      const hangs = ChildSpec.make({
        id: "hangs",
        start: Effect.onInterrupt(Effect.as(Effect.never, ChildSpec.ignore), () =>
          Effect.sync(() => log.push("given up"))
        )
      })
      const nested = ChildSpec.supervisor({ id: "in", supervisor: Supervisor.make({ children: [hangs] }) })
      const fiber = yield* Effect.forkChild(Supervisor.run(Supervisor.make({ children: [a.spec, nested] })), {
        startImmediately: true
      })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(log, ["+a", "given up", "-a"])
    }).pipe(Effect.provide(quiet))
  )

  it.effect("a restart that hangs in its start does not hold up the end of the tree", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      let starts = 0
      const flaky = ChildSpec.make({
        id: "flaky",
        start: Effect.suspend((): Effect.Effect<ChildSpec.Started<undefined> | ChildSpec.Ignore> => {
          starts++
          if (starts === 1) return Effect.succeed(ChildSpec.started({ run: Effect.fail("first") }))
          log.push("hangs")
          return Effect.onInterrupt(Effect.as(Effect.never, ChildSpec.ignore), () =>
            Effect.sync(() => log.push("given up"))
          )
        })
      })
      const [a, b, x] = [scripted(log, "a"), scripted(log, "b"), scripted(log, "x")]
      const nested = ChildSpec.supervisor({ id: "in", supervisor: Supervisor.make({ children: [x.spec, flaky] }) })
      const tree = Supervisor.make({ children: [a.spec, nested, b.spec] })
      const fiber = yield* Effect.forkChild(Supervisor.run(tree), { startImmediately: true })
      assert.deepStrictEqual(log.splice(0), ["+a", "+x", "hangs", "+b"])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(log, ["given up", "-b", "-x", "-a"])
    }).pipe(Effect.provide(quiet))
  )

  it.effect("layer provides the tree and its registry; an end by itself is logged as fatal, once", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make((entry) => {
        lines.push(`${entry.logLevel} ${String(Array.isArray(entry.message) ? entry.message[0] : entry.message)}`)
      })
      const a = scripted([], "a")
      const tree = Supervisor.layer(Supervisor.make({ intensity: 0, children: [a.spec] })).pipe(
        Layer.provideMerge(Logger.layer([logger]))
      )
      yield* Effect.gen(function* () {
        const ref = yield* Supervisor.SupervisorRef
        yield* Registry.count
        a.crash()
        assert.deepStrictEqual(yield* ref.awaitExit, ExitReason.shutdown)
        const error = yield* Effect.flip(ref.whichChildren)
        assert.deepStrictEqual(error.reason, { _tag: "Exited", reason: ExitReason.noProcess })
      }).pipe(Effect.provide(tree))
      assert.deepStrictEqual(lines, [
        'Error Child "root/a" ended: crash: boom (generation 1, restarts 0)',
        'Error Supervisor "root" gives up: more than 0 restarts in 5000 ms, the last one of "root/a"',
        'Fatal The supervision tree "root" has ended: shutdown; the last crash was that of "root/a"'
      ])
    })
  )

  it.effect("releasing the layer logs nothing", () =>
    Effect.gen(function* () {
      const lines: Array<unknown> = []
      const logger = Logger.make((entry) => {
        lines.push(entry.message)
      })
      const tree = Supervisor.layer(Supervisor.make({ children: [scripted([], "a").spec] })).pipe(
        Layer.provideMerge(Logger.layer([logger]))
      )
      yield* Effect.provide(Supervisor.SupervisorRef, tree)
      assert.deepStrictEqual(lines, [])
    })
  )

  it.effect("closeTimeout kills a tree that does not stop, and nothing waits for it", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const stubborn = ChildSpec.effect({
        id: "stubborn",
        shutdown: "infinity",
        run: Effect.uninterruptible(Deferred.await(gate))
      })
      const scope = yield* Scope.make()
      const ref = yield* Supervisor.start(Supervisor.make({ children: [stubborn] }), { closeTimeout: "1 second" }).pipe(
        Scope.provide(scope),
        Effect.provide(Registry.layer)
      )
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(ref.process.exitReason, ExitReason.killed)
      assert.deepStrictEqual(
        (yield* Process.liveFibers).map((fiber) => fiber.path),
        ["root/stubborn"]
      )
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Process.liveFibers, [])
    }).pipe(
      Effect.provide(quiet),
      Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister))
    )
  )

  it.effect("a start error names the child and its reason", () =>
    Effect.gen(function* () {
      const bad = ChildSpec.make({ id: "bad", start: Effect.fail(new Error("no port")) })
      const nested = ChildSpec.supervisor({ id: "in", supervisor: Supervisor.make({ children: [bad] }) })
      const error = yield* Effect.flip(inTree(Supervisor.start(Supervisor.make({ children: [nested] }))))
      assert.strictEqual(
        error.message,
        'Child "in" failed to start: shutdown: child "bad" failed to start (crash: Error: no port)'
      )
    })
  )
})

describe("constructors of children", () => {
  class Counter extends Context.Service<Counter, { readonly built: number }>()("test/Counter") {}

  it.effect("effect, scoped, stream and layer", () =>
    inTree(
      Effect.gen(function* () {
        const log: Array<string> = []
        let built = 0
        const children = [
          ChildSpec.effect({ id: "effect", restart: "transient", run: Effect.void }),
          ChildSpec.scoped({
            id: "scoped",
            acquire: Effect.acquireRelease(Effect.succeed("resource"), () => Effect.sync(() => log.push("released"))),
            run: (resource) =>
              Effect.andThen(
                Effect.sync(() => log.push(resource)),
                Effect.never
              )
          }),
          ChildSpec.stream({
            id: "stream",
            restart: "transient",
            stream: Stream.tap(Stream.make(1, 2), (n) => Effect.sync(() => log.push(`element ${n}`)))
          }),
          ChildSpec.layer({
            id: "layer",
            layer: Layer.sync(Counter, () => ({ built: ++built })),
            run: Effect.andThen(
              Effect.map(Counter, (counter) => log.push(`built ${counter.built}`)),
              Effect.never
            )
          })
        ] as const
        const ref = yield* Supervisor.start(Supervisor.make({ children }))
        assert.deepStrictEqual(log.splice(0), ["resource", "element 1", "element 2", "built 1"])
        yield* ref.terminateChild("layer")
        const again = yield* ref.restartChild("layer")
        assert.isTrue(Context.isContext(again.info))
        assert.deepStrictEqual(log.splice(0), ["built 2"])
        yield* ref.terminateChild("scoped")
        assert.deepStrictEqual(log, ["released"])
        assert.deepStrictEqual((yield* ref.countChildren).active, 1)
      })
    )
  )

  it.effect("a dynamic supervisor and a simple one", () =>
    inTree(
      Effect.gen(function* () {
        const log: Array<string> = []
        const dynamic = yield* Supervisor.start(DynamicSupervisor.make({ maxChildren: 1 }), { id: "dynamic" })
        const started = yield* dynamic.startChild(scripted(log, "a").spec)
        const full = yield* Effect.flip(dynamic.startChild(scripted(log, "b").spec))
        assert.strictEqual(full.reason._tag, "MaxChildren")
        if (started.process !== undefined) yield* dynamic.terminateChild(started.process)
        assert.deepStrictEqual(log, ["+a", "-a"])

        const template = ChildSpec.template({
          id: "room",
          start: (room: number) =>
            Effect.sync(() => {
              log.push(`room ${room}`)
              return ChildSpec.started({ run: Effect.never })
            })
        })
        const simple = yield* Supervisor.start(Supervisor.simple({ children: [template] }), { id: "simple" })
        yield* simple.startChild(7)
        const two = yield* simple.startChild(8)
        yield* two.process?.exit(ExitReason.kill) ?? Effect.void
        assert.deepStrictEqual(log.splice(2), ["room 7", "room 8", "room 8"])
        assert.deepStrictEqual((yield* simple.whichChildren).map((child) => child.id).toSorted(), ["room#1", "room#2"])
      })
    )
  )
})

describe("backoff", () => {
  const delays = Schedule.exponential("100 millis")

  it.effect("restarts wait for the schedule, do not count, and start over when the child was stable", () =>
    inTree(
      Effect.gen(function* () {
        const log: Array<string> = []
        const a = scripted(log, "a", { backoff: delays, stableAfter: "10 seconds" })
        const ref = yield* Supervisor.start(Supervisor.make({ intensity: 0, children: [a.spec] }))
        log.length = 0
        for (const delay of [100, 200, 400]) {
          a.crash()
          assert.strictEqual(yield* stateOf(ref, "a"), "restarting")
          yield* TestClock.adjust(delay - 1)
          assert.deepStrictEqual(log.splice(0), ["-a"])
          yield* TestClock.adjust(1)
          assert.deepStrictEqual(log.splice(0), ["+a"])
        }
        yield* TestClock.adjust("10 seconds")
        a.crash()
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(log, ["-a", "+a"])
      })
    )
  )

  it.effect("a group stops at once, waits as restarting, and starts together", () =>
    inTree(
      Effect.gen(function* () {
        const log: Array<string> = []
        const b = scripted(log, "b", { backoff: delays })
        const ref = yield* Supervisor.start(
          Supervisor.make({
            strategy: "oneForAll",
            children: [scripted(log, "a").spec, b.spec, scripted(log, "c").spec]
          })
        )
        log.length = 0
        b.crash()
        assert.deepStrictEqual(log.splice(0), ["-b", "-c", "-a"])
        assert.deepStrictEqual(
          (yield* ref.whichChildren).map((child) => child.state),
          ["restarting", "restarting", "restarting"]
        )
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(log, ["+a", "+b", "+c"])
      })
    )
  )

  it.effect("terminateChild ends the wait for the whole group", () =>
    inTree(
      Effect.gen(function* () {
        const log: Array<string> = []
        const a = scripted(log, "a", { backoff: delays })
        const ref = yield* Supervisor.start(
          Supervisor.make({ strategy: "restForOne", children: [a.spec, scripted(log, "b").spec] })
        )
        a.crash()
        log.length = 0
        yield* ref.terminateChild("b")
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(log, [])
        assert.deepStrictEqual(
          (yield* ref.whichChildren).map((child) => child.state),
          ["stopped", "stopped"]
        )
      })
    )
  )

  it.effect("restartWhen ends the wait early; when it fails, the delay holds", () =>
    inTree(
      Effect.gen(function* () {
        const log: Array<string> = []
        const known = yield* Deferred.make<void, string>()
        const a = scripted(log, "a", { backoff: delays, restartWhen: Deferred.await(known) })
        const b = scripted(log, "b", { backoff: delays, restartWhen: Effect.fail("unknown") })
        yield* Supervisor.start(Supervisor.make({ children: [a.spec, b.spec] }))
        log.length = 0
        a.crash()
        b.crash()
        yield* TestClock.adjust(99)
        assert.deepStrictEqual(log.splice(0), ["-a", "-b"])
        yield* Deferred.succeed(known, undefined)
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(log.splice(0), ["+a"])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(log, ["+b"])
      })
    )
  )

  it.effect("a killed supervisor leaves no timer", () =>
    inTree(
      Effect.gen(function* () {
        const a = scripted([], "a", { backoff: delays })
        const ref = yield* Supervisor.start(Supervisor.make({ children: [a.spec] }))
        a.crash()
        const labels = Effect.map(Process.liveFibers, (fibers) => fibers.map((fiber) => fiber.label))
        assert.include(yield* labels, "backoff")
        yield* ref.process.exit(ExitReason.kill)
        assert.notInclude(yield* labels, "backoff")
      })
    )
  )

  it.effect("a schedule that is done delays no more, and its restarts count", () =>
    inTree(
      Effect.gen(function* () {
        const log: Array<string> = []
        const a = scripted(log, "a", { backoff: Schedule.max([delays, Schedule.recurs(1)]) })
        const ref = yield* Supervisor.start(Supervisor.make({ intensity: 1, children: [a.spec] }))
        a.crash()
        yield* TestClock.adjust(100)
        a.crash()
        assert.deepStrictEqual(log, ["+a", "-a", "+a", "-a", "+a"])
        a.crash()
        assert.deepStrictEqual(yield* ref.awaitExit, ExitReason.shutdown)
      })
    )
  )

  it.effect("failing restarts go on with the schedule, which is driven with the reasons", () =>
    inTree(
      Effect.gen(function* () {
        const reasons: Array<string> = []
        // A schedule that looks at the reasons: every restart waits a second.
        const schedule = Schedule.modifyDelay(Schedule.identity<ExitReason.ExitReason>(), ({ input }) =>
          Effect.sync(() => {
            reasons.push(ExitReason.format(input))
            return Duration.seconds(1)
          })
        )
        let attempts = 0
        const child = ChildSpec.make({
          id: "a",
          backoff: schedule,
          start: Effect.suspend(() => {
            attempts++
            if (attempts === 2 || attempts === 3) return Effect.fail(`attempt ${attempts}`)
            return Effect.succeed(ChildSpec.started({ run: attempts === 1 ? Effect.fail("first") : Effect.never }))
          })
        })
        const ref = yield* Supervisor.start(Supervisor.make({ intensity: 0, children: [child] }))
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(reasons, ["crash: first", "crash: attempt 2", "crash: attempt 3"])
        assert.strictEqual(yield* stateOf(ref, "a"), "running")
      })
    )
  )
})

describe("watching", () => {
  it.effect("events come in order, of the whole tree, and end with it", () =>
    inTree(
      Effect.gen(function* () {
        const a = scripted([], "a")
        const nested = ChildSpec.supervisor({
          id: "in",
          supervisor: Supervisor.make({ intensity: 0, children: [a.spec] })
        })
        const ref = yield* Supervisor.start(Supervisor.make({ children: [nested] }))
        const collected = yield* Effect.forkChild(Stream.runCollect(ref.events), { startImmediately: true })
        yield* Effect.yieldNow
        a.crash()
        yield* ref.stop()
        const events = yield* Fiber.join(collected)
        assert.deepStrictEqual(
          Array.from(events, (event) => `${event._tag} ${event.path}`),
          [
            "ChildExited root/in/a",
            "IntensityExceeded root/in",
            "SupervisorExited root/in",
            "ChildExited root/in",
            "ChildRestarting root/in",
            "ChildStarted root/in/a",
            "ChildStarted root/in",
            "ChildExited root/in/a",
            "SupervisorExited root/in",
            "ChildExited root/in",
            "SupervisorExited root"
          ]
        )
      })
    )
  )

  it.effect("an uninterruptible child is killed after its time, abandoned, listed and fenced, and holds nobody", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const late = yield* Deferred.make<boolean>()
      const name = Registry.name<string>("who")
      yield* inTree(
        Effect.gen(function* () {
          const registry = yield* Registry.Registry
          let starts = 0
          const stubborn = ChildSpec.make({
            id: "stubborn",
            shutdown: "1 second",
            start: Effect.gen(function* () {
              const first = ++starts === 1
              yield* Registry.register(name, `generation ${starts}`)
              return ChildSpec.started({
                run: first
                  ? Effect.uninterruptible(
                      Effect.andThen(
                        Deferred.await(gate),
                        Effect.flatMap(Effect.exit(Registry.register(Registry.name<string>("late"), "old")), (exit) =>
                          Deferred.succeed(late, Exit.isSuccess(exit))
                        )
                      )
                    )
                  : Effect.never
              })
            })
          })
          const ref = yield* Supervisor.start(Supervisor.make({ children: [stubborn] }))
          const stop = yield* Effect.forkChild(ref.terminateChild("stubborn"), { startImmediately: true })
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(stop)
          yield* ref.restartChild("stubborn")
          assert.strictEqual(Registry.lookupUnsafe(registry, name), "generation 2")
          assert.deepStrictEqual(
            (yield* ref.tree).children.map((child) => [child.generation, child.state]),
            [
              [2, "running"],
              [1, "abandoned"]
            ]
          )
          yield* Deferred.succeed(gate, undefined)
          assert.isFalse(yield* Deferred.await(late))
          assert.deepStrictEqual(
            (yield* ref.tree).children.map((child) => child.state),
            ["running"]
          )
          assert.deepStrictEqual(yield* Registry.lookup(name), Option.some("generation 2"))
        })
      )
    })
  )
})

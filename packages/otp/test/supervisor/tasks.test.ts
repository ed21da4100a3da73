import { assert, describe, it } from "@effect/vitest"
import { ChildSpec, ExitReason, Process, Registry, Supervisor, TaskSupervisor } from "@relive/otp"
import { Arbitrary, Context, Deferred, Effect, Exit, Fiber, Logger, Scheduler, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** A task supervisor that is stopped by `stop`. */
const supervisor = (options?: TaskSupervisor.Options) =>
  Effect.gen(function* () {
    // The first sleep under a `TestClock` forks its warning, interruptibly, also in a finalizer: let that be over.
    yield* TestClock.adjust(0)
    const scope = yield* Scope.make()
    const tasks = yield* Effect.provideService(TaskSupervisor.start(options), Scope.Scope, scope)
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    return { tasks, stop: Scope.close(scope, Exit.void) }
  })

/** What is logged while `effect` runs. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => {
      lines.push(String(message))
    })
    yield* Effect.provide(effect, Logger.layer([logger]))
    return lines
  })

class Language extends Context.Service<Language, string>()("test/Language") {}

describe("TaskSupervisor", () => {
  it.effect("run gives the value, the error and the defect of the effect, and its caller's services", () =>
    Effect.gen(function* () {
      const { tasks } = yield* supervisor()
      assert.strictEqual(yield* tasks.run(Effect.succeed(1)), 1)
      assert.strictEqual(yield* Effect.flip(tasks.run(Effect.fail("mine" as const))), "mine")
      const died = yield* Effect.exit(tasks.run(Effect.die("defect")))
      assert.deepStrictEqual(died, Exit.die("defect"))
      assert.strictEqual(yield* Effect.provideService(tasks.run(Language), Language, "fr"), "fr")
      assert.strictEqual(yield* tasks.run(Effect.map(Process.self, ({ path }) => path)), "tasks/task#5")
      assert.strictEqual(yield* tasks.count, 0)
    })
  )

  it.effect("an error that carries an exit reason is still the error of the task", () =>
    Effect.gen(function* () {
      const { tasks } = yield* supervisor()
      const error = new Supervisor.SupervisorStartError({ reason: { _tag: "BadStartSpec" } })
      assert.strictEqual(yield* Effect.flip(tasks.run(Effect.fail(error))), error)
      const exit = yield* Effect.flip(tasks.run(Process.exit(ExitReason.shutdown)))
      assert.deepStrictEqual([exit._tag, exit.reason], ["ProcessExit", ExitReason.shutdown])
    })
  )

  it.effect("a task that is killed fails its caller with the reason", () =>
    Effect.gen(function* () {
      const { tasks } = yield* supervisor()
      const task = yield* tasks.asyncNolink(Effect.never)
      const joined = yield* fork(Effect.flip(task.join))
      yield* task.process.exit(ExitReason.kill)
      assert.deepStrictEqual((yield* Fiber.join(joined)).reason, ExitReason.killed)
      assert.deepStrictEqual((yield* Effect.flip(task.join)).reason, ExitReason.killed)
    })
  )

  it.effect("interrupting run ends the task, and waits for its finalizers; interrupting join does not", () =>
    Effect.gen(function* () {
      const { tasks } = yield* supervisor({ drain: 0 })
      let ended = 0
      const slow = Effect.onExit(Effect.never, () =>
        Effect.delay(
          Effect.sync(() => ended++),
          "1 second"
        )
      )
      const running = yield* fork(tasks.run(slow))
      assert.strictEqual(yield* tasks.count, 1)
      const interrupting = yield* fork(Fiber.interrupt(running))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(ended, 0)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(interrupting)
      assert.deepStrictEqual([ended, yield* tasks.count], [1, 0])
      const task = yield* tasks.asyncNolink(Effect.never)
      yield* Fiber.interrupt(yield* fork(task.join))
      assert.isTrue(task.process.isAliveUnsafe)
    })
  )

  it.effect("a task that does not end when its caller is interrupted is killed after the shutdown time", () =>
    Effect.gen(function* () {
      const { tasks } = yield* supervisor({ shutdown: "2 seconds" })
      const task = yield* tasks.asyncNolink(Effect.onExit(Effect.never, () => Effect.sleep("1 hour")))
      const ending = yield* fork(task.shutdown)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(ending)
      assert.deepStrictEqual(task.process.exitReason, ExitReason.killed)
      yield* TestClock.adjust("1 hour")
    })
  )

  it.effect("more than maxTasks are refused, and so are tasks of a supervisor that is gone", () =>
    Effect.gen(function* () {
      const { stop, tasks } = yield* supervisor({ maxTasks: 1, drain: 0 })
      yield* tasks.start(Effect.never)
      const full = yield* Effect.flip(tasks.run(Effect.void))
      assert.deepStrictEqual([full._tag, full.reason], ["TaskRefused", "MaxTasks"])
      yield* stop
      assert.strictEqual((yield* Effect.flip(tasks.run(Effect.void))).reason, "Draining")
    })
  )

  it.effect("a failure that nobody waits for is logged, others are not", () =>
    Effect.gen(function* () {
      const lines = yield* logged(
        Effect.gen(function* () {
          const { tasks } = yield* supervisor()
          yield* Effect.exit(tasks.run(Effect.fail("told")))
          const gate = yield* Deferred.make<never, string>()
          const joined = yield* tasks.asyncNolink(Deferred.await(gate))
          const unjoined = yield* tasks.asyncNolink(Deferred.await(gate), { id: "unjoined" })
          const started = yield* tasks.start(Deferred.await(gate), { id: "started" })
          const waiting = yield* fork(Effect.exit(joined.join))
          yield* Deferred.fail(gate, "lost")
          yield* Fiber.join(waiting)
          yield* unjoined.process.awaitExit
          yield* started.awaitExit
          yield* Effect.yieldNow
        }).pipe(Effect.scoped)
      )
      assert.strictEqual(lines.filter((line) => line.includes("unjoined#3")).length, 1)
      assert.strictEqual(lines.filter((line) => line.includes("started#4")).length, 1)
      assert.strictEqual(lines.length, 2)
    })
  )

  it.effect("a shutdown lets tasks finish for the drain, refuses new ones, and says which it ends", () =>
    Effect.gen(function* () {
      const lines = yield* logged(
        Effect.gen(function* () {
          const { stop, tasks } = yield* supervisor({ drain: "1 second" })
          const quick = yield* fork(tasks.run(Effect.delay(Effect.succeed("done"), "900 millis")))
          const late = yield* fork(Effect.flip(tasks.run(Effect.sleep("2 seconds"), { id: "late" })))
          const stopping = yield* fork(stop)
          assert.strictEqual((yield* Effect.flip(tasks.run(Effect.void))).reason, "Draining")
          yield* TestClock.adjust("999 millis")
          assert.strictEqual(yield* Fiber.join(quick), "done")
          assert.isTrue(tasks.process.isAliveUnsafe)
          yield* TestClock.adjust("1 millis")
          const cut = yield* Fiber.join(late)
          assert.deepStrictEqual([cut._tag, cut.reason], ["ProcessExit", ExitReason.shutdown])
          yield* Fiber.join(stopping)
        }).pipe(Effect.scoped)
      )
      assert.deepStrictEqual(lines, [
        'TaskSupervisor "tasks": 1 tasks did not finish within 1000 ms and are ended: late#2'
      ])
    })
  )

  it.effect("a drain ends with its last task", () =>
    Effect.gen(function* () {
      const { stop, tasks } = yield* supervisor({ drain: "infinity" })
      yield* tasks.start(Effect.sleep("3 hours"))
      const stopping = yield* fork(stop)
      yield* TestClock.adjust("3 hours")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(tasks.process.exitReason, ExitReason.shutdown)
    })
  )

  it.effect.prop(
    "a drained task is never cut before its time",
    {
      drain: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
      lasting: Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 80 }))), {
        maxLength: 12
      }),
      ops: Schema.Int.check(Schema.isBetween({ minimum: 3, maximum: 40 }))
    },
    ({ drain, lasting, ops }) =>
      Effect.gen(function* () {
        const { stop, tasks } = yield* supervisor({ drain })
        const results = yield* Effect.forEach(lasting, (millis) =>
          Effect.map(tasks.asyncNolink(Effect.as(Effect.sleep(millis), millis)), (task) => ({ millis, task }))
        )
        yield* TestClock.adjust(0)
        const stopping = yield* fork(stop)
        for (let now = 0; now < drain; now++) {
          for (const { millis, task } of results) assert.strictEqual(task.process.isAliveUnsafe, millis > now)
          yield* TestClock.adjust(1)
        }
        yield* Fiber.join(stopping)
        for (const { millis, task } of results) {
          const exit = yield* Effect.exit(task.join)
          // At the same moment either may come first.
          if (millis < drain) assert.deepStrictEqual(exit, Exit.succeed(millis))
          if (millis > drain) assert.isTrue(Exit.isFailure(exit))
        }
        assert.strictEqual(yield* tasks.count, 0)
      }).pipe(Effect.scoped, Effect.provideService(Scheduler.MaxOpsBeforeYield, ops), Effect.provide(Logger.layer([])))
  )

  it.effect("a caller that is interrupted at any moment leaves no task behind", () =>
    Effect.gen(function* () {
      for (let ops = 3; ops < 30; ops++) {
        for (let moment = 0; moment < 12; moment++) {
          yield* Effect.gen(function* () {
            const { tasks } = yield* supervisor()
            let alive = 0
            const body = Effect.acquireUseRelease(
              Effect.sync(() => alive++),
              () => Effect.never,
              () => Effect.sync(() => alive--)
            )
            const caller = yield* fork(tasks.run(body))
            for (let i = 0; i < moment; i++) yield* Effect.yieldNow
            yield* Fiber.interrupt(caller)
            // Behind what was asked of the supervisor before.
            yield* tasks.run(Effect.void)
            assert.deepStrictEqual([alive, yield* tasks.count], [0, 0], `ops ${ops}, moment ${moment}`)
          }).pipe(Effect.scoped, Effect.provideService(Scheduler.MaxOpsBeforeYield, ops))
        }
      }
      assert.deepStrictEqual(yield* Process.liveFibers, [])
    }).pipe(Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister)))
  )

  it.effect("in a tree it is reached by its name, over restarts, and drains with the tree", () =>
    Effect.gen(function* () {
      const name = Registry.name<TaskSupervisor.TaskSupervisor>("jobs")
      const tree = Supervisor.make({ children: [TaskSupervisor.childSpec({ id: "jobs", name, drain: "1 second" })] })
      const done: Array<string> = []
      const scope = yield* Scope.make()
      const context = yield* Effect.provideService(
        Effect.gen(function* () {
          yield* Supervisor.start(tree)
          return yield* Effect.context<Registry.Registry>()
        }),
        Scope.Scope,
        scope
      )
      const jobs = yield* Effect.provideContext(TaskSupervisor.named(name), context)
      const process = yield* jobs.start(Effect.never)
      assert.strictEqual(process.path, "root/jobs/task#1")
      const registry = Context.get(context, Registry.Registry)
      yield* Registry.lookupUnsafe(registry, name)?.process.exit(ExitReason.kill) ?? Effect.void
      yield* TestClock.adjust(0)
      assert.strictEqual(yield* jobs.count, 0)
      yield* jobs.start(
        Effect.delay(
          Effect.sync(() => done.push("job")),
          "500 millis"
        )
      )
      const closing = yield* fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(done, ["job"])
      assert.strictEqual((yield* Effect.flip(jobs.start(Effect.void))).reason, "Exited")
    }).pipe(Effect.provide(Registry.layer))
  )

  it.effect("as a layer", () =>
    Effect.flatMap(TaskSupervisor.TaskSupervisor, (tasks) => tasks.run(Effect.succeed(2))).pipe(
      Effect.map((value) => assert.strictEqual(value, 2)),
      Effect.provide(TaskSupervisor.layer())
    )
  )

  it.effect("stands in a tree of children, too", () =>
    Effect.gen(function* () {
      const outer = Supervisor.make({
        children: [
          ChildSpec.supervisor({ id: "a", supervisor: Supervisor.make({ children: [] }) }),
          TaskSupervisor.childSpec({ id: "tasks" })
        ]
      })
      const ref = yield* Supervisor.start(outer)
      const { children } = yield* ref.tree
      assert.deepStrictEqual(
        children.map(({ id, type }) => [id, type]),
        [
          ["a", "supervisor"],
          ["tasks", "supervisor"]
        ]
      )
    }).pipe(Effect.scoped, Effect.provide(Registry.layer))
  )
})

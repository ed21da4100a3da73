/** What must hold whenever somebody is interrupted: each case is cut at every step of the scheduler. */
import { assert, describe, it } from "@effect/vitest"
import { ExitReason, GenServer, Process, Registry } from "@relive/otp"
import { Deferred, Effect, Exit, Fiber, Scheduler } from "effect"
import { TestClock } from "effect/testing"

interface Ticket {
  readonly call:
    | GenServer.Call<{ readonly _tag: "Next"; readonly caller: number }, { readonly caller: number }>
    | GenServer.Call<{ readonly _tag: "Defer"; readonly caller: number }, { readonly caller: number }>
  readonly cast: "answer" | "die"
}

type Open = ReadonlyArray<{ readonly caller: number; readonly from: GenServer.From<{ readonly caller: number }> }>

const handled: Array<number> = []

const tickets = (options: GenServer.MailboxOptions = {}) =>
  GenServer.make<Ticket, Open>()({
    mailbox: options,
    init: () => GenServer.ok([]),
    handleCall: {
      Next: ({ caller }, open) =>
        Effect.map(Effect.yieldNow, () => {
          handled.push(caller)
          return GenServer.reply({ caller }, open)
        }),
      Defer: ({ caller }, open, from) => GenServer.noReply([...open, { caller, from }])
    },
    handleCast: (message, open) =>
      message === "die"
        ? Effect.die("die")
        : Effect.as(
            Effect.forEach(open, ({ caller, from }) => from.reply({ caller })),
            GenServer.noReply([])
          )
  })

const turns = (count: number) => Effect.repeat(Effect.yieldNow, { times: count })

/** Each program runs with its own register of fibers, which has to be empty at the end. */
const clean = <A, E, R>(where: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const result = yield* effect
    assert.deepStrictEqual(yield* Process.liveFibers, [], where)
    return result
  }).pipe(Effect.provideServiceEffect(Process.FiberRegister, Effect.sync(Process.makeFiberRegister)))

/** Runs a case for each number of steps between yields, and for each moment of interruption. */
const sweep = <E, R>(moments: number, run: (moment: number, where: string) => Effect.Effect<void, E, R>) =>
  Effect.gen(function* () {
    for (let ops = 3; ops <= 64; ops += ops < 16 ? 1 : 4) {
      for (let moment = 0; moment <= moments; moment++) {
        const where = `ops ${ops}, moment ${moment}`
        yield* Effect.provideService(clean(where, run(moment, where)), Scheduler.MaxOpsBeforeYield, ops)
      }
    }
  })

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

describe("interruption of callers", () => {
  const calling = (options: GenServer.MailboxOptions) =>
    sweep(12, (moment, where) =>
      Effect.gen(function* () {
        const server = yield* GenServer.start(tickets(options))
        const callers = yield* Effect.forEach([0, 1, 2, 3, 4, 5], (caller) =>
          fork(server.call({ _tag: caller % 2 === 0 ? "Next" : "Defer", caller }))
        )
        yield* turns(moment)
        const [, one, two] = callers
        if (one === undefined || two === undefined) throw new Error("unreachable")
        yield* Fiber.interrupt(two)
        yield* Fiber.interrupt(one)
        // Waits behind all that was sent before.
        yield* server.call({ _tag: "Next", caller: 6 })
        yield* server.cast("answer")
        for (const [caller, fiber] of callers.entries()) {
          const exit = yield* Fiber.await(fiber)
          if (fiber !== one && fiber !== two) assert.isTrue(Exit.isSuccess(exit), `${where}, caller ${caller}`)
          if (Exit.isSuccess(exit)) assert.strictEqual(exit.value.caller, caller, where)
        }
        assert.strictEqual(yield* server.depth, 0, where)
        yield* server.stop()
      })
    )

  it.effect("gives nobody another's reply, and holds up nobody", () => calling({}))

  it.effect("nor those who wait for room", () => calling({ capacity: 1 }))

  it.effect("while the server ends: each call is settled, with the reason or by its reply", () =>
    sweep(10, (moment, where) =>
      Effect.gen(function* () {
        const server = yield* GenServer.start(tickets({ capacity: 2 }))
        const callers = yield* Effect.forEach([0, 1, 2, 3], (caller) =>
          fork(Effect.exit(server.call({ _tag: caller % 2 === 0 ? "Next" : "Defer", caller }, { timeout: "infinity" })))
        )
        const casting = yield* fork(server.cast("die"))
        yield* turns(moment)
        if (moment % 2 === 0) yield* server.process.exit(ExitReason.kill)
        yield* Fiber.await(casting)
        yield* server.process.awaitExit
        for (const caller of callers) {
          const exit = yield* Fiber.join(caller)
          const error = Exit.findErrorOption(exit)
          if (error._tag === "Some") assert.include(["ServerExit", "NoProcess"], error.value._tag, where)
          else assert.isTrue(Exit.isSuccess(exit), where)
        }
      })
    )
  )
})

describe("interruption of starters", () => {
  it.effect("leaves nothing of a server in a scope, and no name", () =>
    sweep(14, (moment, where) =>
      Effect.gen(function* () {
        const name = Registry.name<GenServer.Server<{}>>("slow")
        let released = 0
        let acquired = 0
        const slow = GenServer.make<{}, number>()({
          init: () =>
            Effect.gen(function* () {
              yield* Effect.acquireRelease(
                Effect.sync(() => acquired++),
                () => Effect.sync(() => released++)
              )
              yield* turns(8)
              return GenServer.ok(0)
            })
        })
        const start = GenServer.start(slow, { name, timeout: "1 second" })
        const starting = yield* fork(
          Effect.scoped(
            Effect.andThen(
              Effect.acquireRelease(start, (server) => Effect.exit(server.stop())),
              Effect.never
            )
          )
        )
        yield* turns(moment)
        yield* Fiber.interrupt(starting)
        assert.strictEqual((yield* Registry.whereIs(name))._tag, "None", where)
        yield* turns(4)
        assert.strictEqual(released, acquired, where)
      }).pipe(Effect.provide(Registry.layer))
    )
  )
})

describe("late replies and dead generations", () => {
  it.effect("a reply after the timeout reaches nobody, and the next call gets its own", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(tickets())
      const late = yield* fork(Effect.flip(server.call({ _tag: "Defer", caller: 1 }, { timeout: 10 })))
      yield* TestClock.adjust(10)
      assert.strictEqual((yield* Fiber.join(late))._tag, "CallTimeout")
      const next = yield* fork(server.call({ _tag: "Defer", caller: 2 }))
      yield* server.cast("answer")
      assert.deepStrictEqual(yield* Fiber.join(next), { caller: 2 })
    })
  )

  it.effect("a killed server that cannot be interrupted handles, replies, and registers nothing more", () =>
    Effect.gen(function* () {
      interface Stubborn {
        readonly call: GenServer.Call<{ readonly _tag: "Work"; readonly id: number }, string>
      }
      const gate = yield* Deferred.make<void>()
      const name = Registry.name<string>("late")
      const seen: Array<number> = []
      const registered: Array<string> = []
      const server = yield* GenServer.start(
        GenServer.make<Stubborn, number>()({
          init: () => GenServer.ok(0),
          handleCall: {
            Work: ({ id }, state, from) =>
              Effect.uninterruptible(
                Effect.gen(function* () {
                  seen.push(id)
                  yield* Deferred.await(gate)
                  yield* from.reply("late")
                  registered.push((yield* Effect.exit(Registry.register(name, "late")))._tag)
                  return GenServer.reply("later", state)
                })
              )
          },
          terminate: () => Effect.sync(() => seen.push(-1))
        })
      )
      const calls = yield* Effect.forEach([1, 2], (id) =>
        fork(Effect.flip(server.call({ _tag: "Work", id }, { timeout: "infinity" })))
      )
      yield* server.process.exit(ExitReason.kill)
      for (const call of calls) {
        const error = yield* Fiber.join(call)
        assert.isTrue(error._tag === "ServerExit" && error.reason._tag === "Killed")
      }
      yield* Deferred.succeed(gate, undefined)
      yield* turns(5)
      assert.deepStrictEqual(seen, [1])
      assert.deepStrictEqual(registered, ["Failure"])
    }).pipe(Effect.provide(Registry.layer))
  )
})

describe("many servers", () => {
  interface Node {
    readonly call: GenServer.Call<{ readonly _tag: "Depth" }, number>
    readonly cast: number
  }

  const chain = (length: number, done: Deferred.Deferred<number>) =>
    Effect.gen(function* () {
      let next: GenServer.Server<Node> | undefined
      for (let i = 0; i < length; i++) {
        const after = next
        next = yield* GenServer.start(
          GenServer.make<Node, number>()({
            init: () => GenServer.ok(0),
            handleCall: {
              Depth: (_, state) =>
                after === undefined
                  ? GenServer.reply(1, state)
                  : Effect.map(after.call({ _tag: "Depth" }, { timeout: "infinity" }), (depth) =>
                      GenServer.reply(depth + 1, state)
                    )
            },
            handleCast: (hops, state) =>
              Effect.as(
                after === undefined ? Deferred.succeed(done, hops) : after.cast(hops + 1),
                GenServer.noReply(state)
              )
          })
        )
      }
      if (next === undefined) throw new Error("an empty chain")
      return next
    })

  it.effect("pass a message on, and call each other, however many they are", () =>
    Effect.gen(function* () {
      const done = yield* Deferred.make<number>()
      const first = yield* chain(20_000, done)
      yield* first.cast(1)
      assert.strictEqual(yield* Deferred.await(done), 20_000)
      assert.strictEqual(yield* first.call({ _tag: "Depth" }, { timeout: "infinity" }), 20_000)
    })
  )

  it.live("that wake each other for ever hold up nobody else", () =>
    Effect.gen(function* () {
      interface Player {
        readonly cast: GenServer.Server<Player>
      }
      let passes = 0
      const player = GenServer.make<Player, GenServer.Server<Player>>()({
        init: (self) => GenServer.ok(self),
        handleCast: (other, self) => {
          passes++
          return Effect.as(other.cast(self), GenServer.noReply(self))
        }
      })
      const one = yield* GenServer.start(player)
      const two = yield* GenServer.start(player)
      yield* one.cast(two)
      yield* Effect.sleep(1)
      const before = passes
      yield* Effect.sleep(1)
      assert.isAbove(passes, before)
      yield* one.process.exit(ExitReason.kill)
      yield* two.process.exit(ExitReason.kill)
    })
  )
})

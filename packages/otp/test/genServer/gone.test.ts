/** A server knows whether its reply was received: `from.reply`, `from.isWaiting`, `from.onGone`. */
import { assert, describe, it } from "@effect/vitest"
import { ExitReason, GenServer, Process } from "@relive/otp"
import { Effect, Exit, Fiber, Scheduler, Schema } from "effect"
import { TestClock } from "effect/testing"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })
const turns = (count: number) => Effect.repeat(Effect.yieldNow, { times: count })

/** A server whose one call waits for a reply from outside, and counts callers that are gone. */
interface Waiting {
  readonly call: GenServer.Call<{ readonly _tag: "Wait" }, number, "refused">
}

const waiting = () => {
  const froms: Array<GenServer.From<number, "refused">> = []
  let gone = 0
  const definition = GenServer.make<Waiting, null>()({
    init: () => GenServer.ok(null),
    handleCall: {
      Wait: (_, state, from) => {
        froms.push(from)
        return Effect.as(from.onGone(Effect.sync(() => gone++)), GenServer.noReply(state))
      }
    }
  })
  const from = () => {
    const last = froms.at(-1)
    if (last === undefined) throw new Error("nobody has called")
    return last
  }
  return { definition, from, gone: () => gone }
}

describe("replies", () => {
  it.effect("the first reply is taken, no other is, and nobody is gone", () =>
    Effect.gen(function* () {
      const { definition, from, gone } = waiting()
      const server = yield* GenServer.start(definition)
      const caller = yield* fork(server.call({ _tag: "Wait" }))
      assert.isTrue(from().isWaiting)
      assert.isTrue(yield* from().reply(1))
      assert.isFalse(from().isWaiting)
      assert.isFalse(yield* from().reply(2))
      assert.isFalse(yield* from().refuse("refused"))
      assert.strictEqual(yield* Fiber.join(caller), 1)
      yield* turns(3)
      assert.strictEqual(gone(), 0)
    })
  )

  it.effect("a refusal is a reply", () =>
    Effect.gen(function* () {
      const { definition, from, gone } = waiting()
      const server = yield* GenServer.start(definition)
      const caller = yield* fork(Effect.flip(server.call({ _tag: "Wait" })))
      assert.isTrue(yield* from().refuse("refused"))
      assert.strictEqual(yield* Fiber.join(caller), "refused")
      assert.strictEqual(gone(), 0)
    })
  )

  it.effect("a caller is gone when its call timed out, and when it was interrupted", () =>
    Effect.gen(function* () {
      const { definition, from, gone } = waiting()
      const server = yield* GenServer.start(definition)
      const late = yield* fork(Effect.flip(server.call({ _tag: "Wait" }, { timeout: 100 })))
      yield* TestClock.adjust(99)
      assert.strictEqual(gone(), 0)
      yield* TestClock.adjust(1)
      assert.include(String(yield* Fiber.join(late)), "CallTimeout")
      assert.strictEqual(gone(), 1)
      assert.isFalse(from().isWaiting)
      assert.isFalse(yield* from().reply(1))
      yield* Fiber.interrupt(yield* fork(server.call({ _tag: "Wait" })))
      assert.strictEqual(gone(), 2)
    })
  )

  it.effect("a caller is gone when its process was killed, also if it cannot be interrupted", () =>
    Effect.gen(function* () {
      const { definition, from, gone } = waiting()
      const server = yield* GenServer.start(definition)
      const plain = yield* Process.spawn(server.call({ _tag: "Wait" }))
      yield* plain.exit(ExitReason.kill)
      assert.strictEqual(gone(), 1)
      const stubborn = yield* Process.spawn(Effect.uninterruptible(server.call({ _tag: "Wait" })))
      assert.strictEqual(from().caller, stubborn)
      yield* stubborn.exit(ExitReason.kill)
      assert.strictEqual(gone(), 2)
      assert.isFalse(from().isWaiting)
      assert.isFalse(yield* from().reply(1))
    })
  )

  it.effect("a caller that is gone already runs the effect at once; a server that has ended runs none", () =>
    Effect.gen(function* () {
      const { definition, from, gone } = waiting()
      const server = yield* GenServer.start(definition)
      yield* Fiber.interrupt(yield* fork(server.call({ _tag: "Wait" })))
      yield* from().onGone(Effect.void)
      let again = 0
      yield* from().onGone(Effect.sync(() => again++))
      assert.strictEqual(again, 1)
      const left = yield* fork(Effect.flip(server.call({ _tag: "Wait" })))
      yield* server.stop()
      assert.include(String(yield* Fiber.join(left)), "ServerExit")
      assert.strictEqual(gone(), 1)
    })
  )

  it.effect("a reply that was taken, but came too late to be received, leaves the caller gone", () =>
    Effect.gen(function* () {
      const { definition, from, gone } = waiting()
      const server = yield* GenServer.start(definition)
      const caller = yield* fork(server.call({ _tag: "Wait" }))
      // Woken by its message, it runs before those whom it wakes: the caller is cut with the reply on its way.
      const replier = yield* Process.spawn(
        Effect.gen(function* () {
          yield* Process.receive
          assert.isTrue(yield* from().reply(1))
          yield* Effect.sync(() => caller.interruptUnsafe())
        })
      )
      yield* replier.send("go")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(caller)))
      assert.strictEqual(gone(), 1)
      assert.deepStrictEqual(replier.exitReason, ExitReason.normal)
    })
  )

  it.effect("an effect of onGone that fails ends the server with its cause", () =>
    Effect.gen(function* () {
      const server = yield* GenServer.start(
        GenServer.make<Waiting, null>()({
          init: () => GenServer.ok(null),
          handleCall: {
            Wait: (_, state, from) => Effect.as(from.onGone(Effect.die("bug")), GenServer.noReply(state))
          }
        })
      )
      yield* Fiber.interrupt(yield* fork(server.call({ _tag: "Wait" })))
      assert.strictEqual((yield* server.process.awaitExit)._tag, "Crash")
    })
  )
})

/** A pool of workers, as small as it can be: who waits, which workers are free, and who has one. */
interface Pool {
  readonly call: GenServer.Call<{ readonly _tag: "Checkout" }, number>
  readonly cast: { readonly _tag: "Checkin"; readonly worker: number }
}

interface PoolState {
  readonly free: Array<number>
  readonly queue: Array<GenServer.From<number>>
}

const pool = (size: number) => {
  const state: PoolState = { free: Array.from({ length: size }, (_, i) => i), queue: [] }
  const definition = GenServer.make<Pool, GenServer.Server<Pool>>()({
    init: (self) => GenServer.ok(self),
    handleCall: {
      Checkout: (_, self, from) => {
        const worker = state.free.pop()
        if (worker === undefined) {
          state.queue.push(from)
          return GenServer.noReply(self)
        }
        return Effect.as(hand(self, from, worker), GenServer.noReply(self))
      }
    },
    handleCast: ({ worker }, self) =>
      Effect.gen(function* () {
        for (let next = state.queue.shift(); next !== undefined; next = state.queue.shift()) {
          if (!next.isWaiting) continue
          yield* hand(self, next, worker)
          return GenServer.noReply(self)
        }
        state.free.push(worker)
        return GenServer.noReply(self)
      })
  })
  return { definition, state }
}

/** Hands a worker over; if it is not received it comes back. */
const hand = (self: GenServer.Server<Pool>, from: GenServer.From<number>, worker: number) =>
  Effect.andThen(from.onGone(self.cast({ _tag: "Checkin", worker })), from.reply(worker))

describe("a pool hands out each worker to one caller, and loses none", () => {
  const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

  it.effect.prop(
    "whoever is interrupted or late, at whatever moment",
    {
      size: between(1, 3),
      // With few operations between yields a caller may be interrupted between its call and what it does with the reply:
      // then it has to acquire uninterruptibly, as `Effect.acquireRelease` does by default.
      scheduling: Schema.Union([
        Schema.Struct({ ops: between(3, 40), acquire: Schema.Literal("uninterruptible") }),
        Schema.Struct({ ops: Schema.Literal(2048), acquire: Schema.Literal("interruptible") })
      ]),
      callers: Schema.Array(
        Schema.Struct({ timeout: between(1, 4), work: between(0, 3), cut: Schema.NullOr(between(0, 12)) })
      )
    },
    ({ callers, scheduling: { acquire, ops }, size }) =>
      Effect.gen(function* () {
        const { definition, state } = pool(size)
        const server = yield* GenServer.start(definition)
        const holders = new Set<number>()
        const client = (timeout: number, work: number) =>
          Effect.acquireUseRelease(
            acquire === "interruptible"
              ? Effect.interruptible(server.call({ _tag: "Checkout" }, { timeout }))
              : server.call({ _tag: "Checkout" }, { timeout }),
            (worker) =>
              Effect.suspend(() => {
                assert.isFalse(holders.has(worker), "a worker has two holders")
                holders.add(worker)
                return Effect.sleep(work)
              }),
            (worker) =>
              Effect.suspend(() => {
                holders.delete(worker)
                return server.cast({ _tag: "Checkin", worker })
              })
          )
        const running: Array<{ readonly fiber: Fiber.Fiber<void, unknown>; readonly cut: number | null }> = []
        for (const { cut, timeout, work } of callers) running.push({ cut, fiber: yield* fork(client(timeout, work)) })
        for (let moment = 0; moment <= 12; moment++) {
          for (const { cut, fiber } of running) if (cut === moment) yield* fork(Fiber.interrupt(fiber))
          yield* moment % 2 === 0 ? Effect.yieldNow : TestClock.adjust(1)
        }
        yield* TestClock.adjust(100)
        for (const { fiber } of running) yield* Fiber.await(fiber)
        yield* turns(3)
        assert.deepStrictEqual(
          state.free.toSorted(),
          Array.from({ length: size }, (_, i) => i)
        )
        yield* server.stop()
      }).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, ops))
  )

  it.effect("for each call, either the reply is received or the caller is gone, never both", () =>
    Effect.gen(function* () {
      for (let ops = 3; ops < 40; ops += ops < 12 ? 1 : 5) {
        for (let moment = 0; moment < 14; moment++) {
          yield* Effect.gen(function* () {
            const { definition, from, gone } = waiting()
            const server = yield* GenServer.start(definition)
            let received = 0
            const caller = yield* fork(Effect.map(server.call({ _tag: "Wait" }, { timeout: 5 }), () => received++))
            while (server.process.isAliveUnsafe && (yield* server.depth) > 0) yield* Effect.yieldNow
            yield* turns(2)
            const replying = yield* fork(Effect.andThen(turns(moment % 4), from().reply(1)))
            const cutting = yield* fork(
              moment % 2 === 0 ? Fiber.interrupt(caller) : Effect.andThen(turns(moment % 3), TestClock.adjust(5))
            )
            const taken = yield* Fiber.join(replying)
            yield* Fiber.join(cutting)
            const exit = yield* Fiber.await(caller)
            yield* turns(2)
            const where = `ops ${ops}, moment ${moment}`
            // `received` may be missed by a caller that was cut behind its call: that is its own matter.
            assert.isFalse(received > 0 && gone() > 0, where)
            if (!taken) assert.strictEqual(gone(), 1, where)
            if (Exit.isSuccess(exit)) assert.deepStrictEqual([received, gone(), taken], [1, 0, true], where)
            yield* server.stop()
          }).pipe(Effect.provideService(Scheduler.MaxOpsBeforeYield, ops))
        }
      }
    })
  )
})

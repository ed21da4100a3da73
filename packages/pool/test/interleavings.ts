/**
 * One interleaving of use, cancellation, death, lease and close, by seed, and its verdict: each call settles once, with its own
 * reply or an honest error, nothing ran that was said not to have run, and nothing is left behind.
 */
import { assert } from "@effect/vitest"
import { Redis, type RedisError, type RedisService } from "@relive/core"
import { ExitReason, Process } from "@relive/otp"
import * as Registry from "@relive/otp/Registry"
import { RedisPool } from "@relive/pool"
import { Fault, FaultProxy, Ledger, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Struct from "effect/Struct"
import { inTree, name, pool } from "./support.ts"

/** Numbers from [0, 1) by seed (xorshift). */
const randomOf = (seed: number) => {
  let state = (seed * 2654435761 + 1) >>> 0
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  const oneOf = <A>(...all: readonly [A, ...ReadonlyArray<A>]): A => all[below(all.length)] ?? all[0]
  return { below, oneOf }
}

type Dice = ReturnType<typeof randomOf>

const outcome = ({ reason }: RedisError.RedisError): Ledger.Outcome => {
  switch (reason._tag) {
    case "ConnectionError":
    case "TimeoutError":
      return { _tag: "Failed", delivery: reason.delivery }
    case "ReplyError":
    case "TransactionAborted":
      return { _tag: "Refused" }
    default:
      return { _tag: "Failed", delivery: "unsent" }
  }
}

const optionsOf = ({ below, oneOf }: Dice): RedisPool.Options => ({
  size: 1 + below(4),
  strategy: oneOf<RedisPool.Strategy>("leastInFlight", "roundRobin", "random", "hash"),
  whenDown: oneOf("wait", "wait", "fail"),
  inFlightCommands: oneOf(1, 3, 1000),
  mailboxCommands: oneOf(5, 1000),
  whenFull: oneOf("suspend", "suspend", "fail"),
  moveAfter: oneOf(0, 5, 50),
  stagger: oneOf(0, 2),
  leases: oneOf(1, 4),
  timeout: oneOf(100, 1000, 3000),
  closeTimeout: oneOf(0, 50, 500),
  backoffFirst: 0,
  backoffInitial: 5,
  backoffCap: 20,
  stableAfter: 20
})

/** One call of any kind, and what its reply must be. */
const callOf = (
  { below, oneOf }: Dice,
  ledger: Ledger.Ledger
): Effect.Effect<unknown, RedisError.RedisError, RedisService> => {
  const timeout = oneOf<number | undefined>(undefined, undefined, 1 + below(60))
  const push = (id: number) => ["RPUSH", "log", id] as const
  const isLength = (reply: unknown): boolean => typeof reply === "number"
  const write = { kind: "write", effect: "write" } as const
  type Call = Effect.Effect<unknown, RedisError.RedisError, RedisService>
  return oneOf<() => Call>(
    () => ledger.track({ ...write, accepts: isLength }, (id) => Redis.command(push(id), { timeout }), outcome),
    () =>
      ledger.track(
        { kind: "read", effect: "read", accepts: (reply, id) => reply === `mine ${id}` },
        (id) => Redis.command(["ECHO", `mine ${id}`], { timeout }),
        outcome
      ),
    () =>
      ledger.track(
        { ...write, kind: "pipeline", accepts: (replies, id) => Array.isArray(replies) && replies[0] === `${id}` },
        (id) => Redis.pipeline([["ECHO", id], push(id)], { timeout }),
        outcome
      ),
    () =>
      ledger.track(
        { ...write, kind: "transaction", accepts: (replies, id) => Array.isArray(replies) && replies[1] === `${id}` },
        (id) => Redis.transaction([push(id), ["ECHO", id]], { timeout }),
        outcome
      ),
    () =>
      ledger.track(
        { ...write, kind: "lease", accepts: isLength },
        (id) => Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(push(id), { timeout }))),
        outcome
      ),
    () =>
      ledger.track(
        { kind: "blocking", effect: "read", accepts: (reply) => reply === null },
        () => Redis.command(["BLPOP", "nothing", 0.02]),
        outcome
      )
  )()
}

const interleave = (seed: number) =>
  Effect.gen(function* () {
    const dice = randomOf(seed)
    const { below, oneOf } = dice
    const options = optionsOf(dice)
    const server = yield* RedisServer.RedisServer
    yield* server.command(["FLUSHALL"])
    const ledger = yield* Ledger.make
    const register = Process.makeFiberRegister()
    const proxy = yield* FaultProxy.make(server, { seed })
    const scope = yield* Scope.make()
    const tree = inTree({ host: proxy.host, port: proxy.port, ...options })
    const context = yield* Layer.buildWithScope(tree, scope).pipe(
      Effect.provideService(Process.FiberRegister, register)
    )
    const inPool = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideContext(effect, context)
    const calls: Array<Fiber.Fiber<unknown, RedisError.RedisError>> = []
    const killMember = Effect.gen(function* () {
      const process = yield* Registry.whereIs(RedisPool.memberName(name, below(options.size ?? 1)))
      if (Option.isSome(process)) yield* process.value.exit(ExitReason.kill)
    })
    let kills = 0
    const pause = Effect.suspend(() => Effect.sleep(below(8)))
    for (let step = 0; step < 80; step++) {
      const what = below(100)
      if (what < 68) calls.push(yield* Effect.forkScoped(inPool(callOf(dice, ledger)), { startImmediately: true }))
      else if (what < 74) yield* pause
      else if (what < 80) {
        const victim = calls[below(calls.length)]
        if (victim !== undefined) yield* Fiber.interrupt(victim)
      } else if (what < 90) {
        const direction = oneOf("toServer", "toClient")
        yield* proxy.inject(Fault.cut({ direction, how: oneOf("fin", "rst"), afterBytes: below(200), times: 1 }))
      } else if (what < 93) {
        const refusal = yield* proxy.inject(Fault.refuse(oneOf("closed", "reset")))
        yield* Effect.forkScoped(Effect.andThen(Effect.sleep(below(30)), refusal.heal))
      } else if (what < 96) yield* server.command(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
      else if (kills < 2) {
        // Not as many as end the pool.
        kills++
        yield* inPool(killMember)
      }
    }
    const closeEarly = oneOf(true, false, false)
    if (!closeEarly) yield* Effect.forEach(calls, Fiber.await)
    const inside = yield* inPool(pool)
    yield* Scope.close(scope, Exit.void)
    yield* Effect.forEach(calls, Fiber.await)
    assert.strictEqual((yield* inside.status).queued, 0)
    assert.deepStrictEqual(yield* Effect.provideService(Process.liveFibers, Process.FiberRegister, register), [])
    assert.strictEqual(yield* ledger.pending, 0)
    yield* proxy.healAll
    yield* Effect.repeat(proxy.connections, { until: (count) => count === 0 })
    // What was on its way has arrived when the server knows of no client any more.
    yield* Effect.repeat(server.command(["CLIENT", "LIST", "TYPE", "normal"]), {
      until: (list) => String(list).trim().split("\n").length <= 1
    })
    yield* ledger.collect(server, { lists: ["log"] })
    const report = yield* ledger.report
    assert.ok(Ledger.isClean(report), JSON.stringify(report.violations))
    return { ...report, moved: (yield* inside.status).moved }
  }).pipe(Effect.scoped)

/** The interleavings of these seeds, and that they were worth running. */
export const interleavings = (from: number, to: number) =>
  Effect.gen(function* () {
    const total = { submitted: 0, acknowledged: 0, unsent: 0, unknown: 0, interrupted: 0, moved: 0 }
    for (let seed = from; seed <= to; seed++) {
      const report = yield* interleave(seed).pipe(
        Effect.timeout("15 seconds"),
        Effect.catchCause((cause) => Effect.die(new Error(`seed ${seed}`, { cause })))
      )
      for (const count of Struct.keys(total)) total[count] += report[count]
    }
    for (const count of Struct.keys(total)) assert.isAbove(total[count], to - from, JSON.stringify(total))
  }).pipe(Effect.provide(RedisServer.layer()))

/**
 * Faults that need a server of their own, since they must not happen to all at once: each is a trial that is repeated all the
 * while, with a check at its end that a client that holds the laws passes.
 *
 * - `freeze`: this process is stopped (SIGSTOP) while calls are in flight, until after their deadlines. Their replies came in
 *   time: they must be handed out when it goes on, and nothing that was popped may be lost. Everything else in the process,
 *   the proxies too, stands still as well.
 * - `failover`: a primary becomes the replica of another server, and keeps its connections, while a name leads to that one now. A
 *   worker with connections of its own must get away from it.
 * - `elsewhere`: a connection to a database other than 0 is cut, and something between refuses the `SELECT` of the next one, or
 *   says a line out of turn. No write may end up in database 0.
 */
import { Redis, type RedisError } from "@relive/core"
import { Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import type { Law } from "./Book.ts"
import type { Kind } from "./Faults.ts"
import type * as Seeded from "./Seeded.ts"
import { common } from "./Settings.ts"

/** The setting of the trials. */
export interface Trials {
  readonly random: Seeded.Seeded
  readonly counted: (kind: Kind) => void
  readonly onBroken: (law: Law, what: string) => void
}

/** The servers of the trials. */
export interface Servers {
  readonly frozen: RedisServer.RedisServer
  readonly first: RedisServer.RedisServer
  readonly second: RedisServer.RedisServer
  readonly name: FaultProxy.FaultProxy
  readonly selected: RedisServer.RedisServer
  readonly refuser: FaultProxy.FaultProxy
}

export const servers: Effect.Effect<Servers, RedisServer.RedisServerError, Scope.Scope> = Effect.gen(function* () {
  const frozen = yield* RedisServer.make()
  const first = yield* RedisServer.make()
  const second = yield* RedisServer.make()
  const selected = yield* RedisServer.make()
  return {
    frozen,
    first,
    second,
    name: yield* FaultProxy.make(first),
    selected,
    refuser: yield* FaultProxy.make(selected)
  }
})

const PAUSE_MILLIS = 150
const DEADLINE_MILLIS = 400
const FROZEN_MILLIS = 700
const WRITTEN_MILLIS = 20
/** After a failover a worker has to be with the new primary: it takes a call or two, and on a busy machine as many seconds. */
const AWAY_WITHIN_MILLIS = 10_000
const LOOK_MILLIS = 20
const WRITES_ELSEWHERE = 8

/** Stops this process, and lets it go on after a while. Whoever does it must not be stopped with it. */
const freeze = (millis: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const script = `kill -STOP ${process.pid}; sleep ${millis / 1_000}; kill -CONT ${process.pid}`
    const child = spawn("/bin/sh", ["-c", script], { stdio: "ignore" })
    child.once("close", () => resume(Effect.void))
  })

const isUnsent = (exit: Exit.Failure<unknown, RedisError.RedisError>): boolean => {
  const fail = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  return fail !== undefined && "delivery" in fail.error.reason && fail.error.reason.delivery === "unsent"
}

/** The server replies to nobody for a while: the replies to what is asked now come when this process stands still. */
const frozenOnce = ({ counted, onBroken }: Trials, server: RedisServer.RedisServer) =>
  Effect.gen(function* () {
    yield* Redis.command(["PING"])
    const worker = yield* Effect.forkChild(
      Effect.exit(Redis.command(["BLPOP", "jobs", 5], { timeout: DEADLINE_MILLIS + PAUSE_MILLIS })),
      { startImmediately: true }
    )
    yield* Effect.sleep(WRITTEN_MILLIS)
    yield* server.command(["CLIENT", "PAUSE", PAUSE_MILLIS, "ALL"])
    const pushed = yield* Effect.forkChild(server.command(["RPUSH", "jobs", "job"]), { startImmediately: true })
    const call = yield* Effect.forkChild(
      Effect.exit(Redis.command(["INCR", "n"], { timeout: DEADLINE_MILLIS, retry: false })),
      { startImmediately: true }
    )
    yield* Effect.sleep(WRITTEN_MILLIS)
    yield* freeze(FROZEN_MILLIS)
    const incremented = yield* Fiber.join(call)
    const popped = yield* Fiber.join(worker)
    yield* Fiber.join(pushed)
    const left = yield* server.command(["LLEN", "jobs"])
    yield* server.command(["DEL", "jobs"])
    // On a machine without time for us it may not have been written before: then it says so, and nothing is lost.
    if (Exit.isFailure(incremented) && !isUnsent(incremented)) {
      onBroken(
        "lostAcknowledged",
        `a reply that came while the process was frozen was dropped: ${String(incremented.cause)}`
      )
    }
    if (Exit.isFailure(popped) && left === 0) {
      onBroken("lostAcknowledged", `what was popped while the process was frozen is lost: ${String(popped.cause)}`)
    }
    counted("freeze")
  })

const repeated = <A, E, R>(trials: Trials, least: number, most: number, trial: Effect.Effect<A, E, R>) =>
  Effect.forever(
    Effect.andThen(
      Effect.suspend(() => Effect.sleep(trials.random.integer(least, most))),
      trial
    )
  )

/** Freezes the process now and then. Never ends. */
export const freezes = (trials: Trials, { frozen }: Servers): Effect.Effect<never, unknown> =>
  repeated(trials, 1_500, 3_000, frozenOnce(trials, frozen)).pipe(
    Effect.provide(Redis.layer({ ...common, port: frozen.port, timeout: 5_000 }))
  )

/** When a worker has had its last success, by kind of call. */
interface Worker {
  popped: number
  wrote: number
}

const works = (worker: Worker) =>
  Effect.forever(
    Effect.gen(function* () {
      const popped = yield* Effect.exit(Redis.command(["BLPOP", "none", 0.02]))
      if (Exit.isSuccess(popped)) worker.popped = performance.now()
      const onLease = Effect.scoped(Effect.flatMap(Redis.lease, (lease) => lease.command(["SET", "k", "v"])))
      const wrote = yield* Effect.exit(onLease)
      if (Exit.isSuccess(wrote)) worker.wrote = performance.now()
      yield* Effect.sleep(40)
    })
  )

/** Fails over now and then, to and fro. Never ends. */
export const failovers = (trials: Trials, { first, name, second }: Servers): Effect.Effect<never, unknown> =>
  Effect.gen(function* () {
    const worker: Worker = { popped: 0, wrote: 0 }
    yield* Effect.forkChild(works(worker))
    let [primary, other] = [first, second]
    const once = Effect.gen(function* () {
      const [next, old] = [other, primary]
      yield* next.command(["REPLICAOF", "NO", "ONE"])
      yield* old.command(["REPLICAOF", next.host, next.port])
      yield* name.redirect(next)
      const at = performance.now()
      primary = next
      other = old
      const late = (last: number): boolean => last < at
      while ((late(worker.popped) || late(worker.wrote)) && performance.now() < at + AWAY_WITHIN_MILLIS) {
        yield* Effect.sleep(LOOK_MILLIS)
      }
      if (late(worker.popped))
        trials.onBroken("unsettled", "a worker's BLPOP is glued to a server that became a replica")
      if (late(worker.wrote)) trials.onBroken("unsettled", "a lease is glued to a server that became a replica")
      trials.counted("failover")
    })
    return yield* repeated(trials, 500, 1_500, once)
  }).pipe(Effect.provide(Redis.layer({ ...common, port: name.port })))

const refusals = [
  "-ERR DB index is out of range",
  "-ERR invalid DB index",
  "-NOPERM this user has no permissions to run the 'select' command",
  "-ERR unknown command 'SELECT'",
  "-ERR SELECT is not allowed in cluster mode",
  ":0"
] as const

const selectedOnce = ({ counted, onBroken, random }: Trials, { refuser, selected }: Servers) =>
  Effect.gen(function* () {
    const startedAt = performance.now()
    while (Exit.isFailure(yield* Effect.exit(Redis.command(["PING"])))) {
      if (performance.now() > startedAt + AWAY_WITHIN_MILLIS) {
        return onBroken("unsettled", "a connection whose SELECT is no longer refused does not recover")
      }
      yield* Effect.sleep(LOOK_MILLIS)
    }
    const cut = yield* refuser.inject(Fault.cut({ how: "rst", times: Infinity }))
    yield* cut.heal
    // The reply to `SELECT` is the second in RESP3.
    const line = random.pick(refusals)
    const refusal = yield* refuser.inject(Fault.interject(line, { afterReplies: 1, replaces: true, times: Infinity }))
    // While the connection waits for a better time, and on one that is refused again.
    for (let n = 0; n < WRITES_ELSEWHERE; n++) {
      const exit = yield* Effect.exit(Redis.command(["INCR", "n"]))
      if (Exit.isSuccess(exit)) onBroken("wrongReplies", `a write was acknowledged though SELECT got "${line}"`)
      yield* Effect.sleep(LOOK_MILLIS)
    }
    const hits = yield* refusal.hits
    yield* refusal.heal
    const elsewhere = yield* selected.command(["DBSIZE"])
    if (elsewhere !== 0) {
      onBroken("wrongReplies", `a write went to database 0 after SELECT got "${line}"`)
      yield* selected.command(["FLUSHALL"])
    }
    if (hits > 0) counted("elsewhere")
  })

/** Refuses `SELECT` now and then. Never ends. */
export const refusedSelects = (trials: Trials, servers: Servers): Effect.Effect<never, unknown> =>
  repeated(trials, 300, 1_200, selectedOnce(trials, servers)).pipe(
    Effect.provide(Redis.layer({ ...common, port: servers.refuser.port, database: 3 }))
  )

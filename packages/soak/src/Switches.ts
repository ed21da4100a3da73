/**
 * Planned failovers under real Sentinels, one after the other, with numbered writers: a trial of its own, in runs that are long
 * enough for it. After each one the new primary is asked what it has.
 *
 * The old primary stays up and takes writes for some ten seconds more. What it has acknowledged after the Sentinels named the new
 * one is lost through the client's fault; what it has acknowledged before is lost through nobody's.
 */
import { Redis, type RedisService } from "@relive/core"
import { RedisSentinel, type RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { common } from "./Settings.ts"
import type { Trials } from "./Trials.ts"

/** The servers, and the Sentinels that watch them. */
export const servers: Effect.Effect<RedisSentinel.RedisSentinel, RedisServer.RedisServerError, Scope.Scope> =
  RedisSentinel.make({ replicas: 2 })

const WRITERS = 4
/** The delay after the Sentinels agreed from which on whatever is acknowledged must be there. */
const LATE_MILLIS = 250
const SETTLED_MILLIS = 1_000

interface Written {
  readonly id: string
  readonly at: number
}

const keyOf = (writer: number): string => `switch:${writer}`

/** Pushes numbers as fast as they are acknowledged. */
const writes = (writer: number, acknowledged: Array<Written>): Effect.Effect<never, never, RedisService> => {
  let n = 0
  return Effect.forever(
    Effect.gen(function* () {
      const id = `${writer}-${n++}`
      const exit = yield* Effect.exit(Redis.command(["RPUSH", keyOf(writer), id]))
      if (Exit.isSuccess(exit)) acknowledged.push({ id, at: performance.now() })
      yield* Effect.sleep(2)
    })
  )
}

const stored = (server: RedisServer.RedisServer): Effect.Effect<ReadonlyMap<string, number>, unknown> =>
  Effect.gen(function* () {
    const counts = new Map<string, number>()
    for (let writer = 0; writer < WRITERS; writer++) {
      const ids = yield* server.command(["LRANGE", keyOf(writer), 0, -1])
      for (const id of Array.isArray(ids) ? ids : []) counts.set(String(id), (counts.get(String(id)) ?? 0) + 1)
    }
    return counts
  })

/** One failover after the other. Never ends. */
export const switches = (
  { counted, onBroken, random }: Trials,
  group: RedisSentinel.RedisSentinel
): Effect.Effect<never, unknown> => {
  const sentinels = group.sentinels.map(({ host, port }) => ({ host, port }))
  const acknowledged: Array<Written> = []
  const once = Effect.gen(function* () {
    yield* Effect.sleep(random.integer(1_000, 3_000))
    const elected = yield* group.failover
    const agreedAt = performance.now()
    yield* Effect.sleep(SETTLED_MILLIS)
    // A machine that has no time for the Sentinels' pings may make them switch once more: then nothing can be said.
    if ((yield* group.currentPrimary) !== elected) return
    const has = yield* stored(elected)
    const judgedAt = agreedAt + SETTLED_MILLIS - LATE_MILLIS
    const late = acknowledged.filter(({ at, id }) => at > agreedAt + LATE_MILLIS && at < judgedAt && !has.has(id))
    if (late.length > 0) {
      onBroken(
        "lostAcknowledged",
        `${late.length} writes went to the old primary after the Sentinels named another one`
      )
    }
    if (!acknowledged.some(({ at }) => at > agreedAt)) {
      onBroken("unsettled", "nothing was written within a second after the Sentinels named another primary")
    }
    for (const [id, count] of has) if (count > 1) onBroken("executedTwice", `${id} was pushed ${count} times`)
    acknowledged.length = 0
    counted("switch")
  })
  return Effect.gen(function* () {
    for (let writer = 0; writer < WRITERS; writer++) yield* Effect.forkChild(writes(writer, acknowledged))
    return yield* Effect.forever(once)
  }).pipe(Effect.provide(Redis.layer({ ...common, sentinel: { sentinels, group: group.group } })))
}

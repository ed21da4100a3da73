/**
 * The faults, and their times. Each fault is done to the real server; it counts when it ended a session that was ready.
 */
import type { RedisServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { until, type SessionsRef } from "./sessions.ts"
import type { Settings } from "./settings.ts"

/** One kind of fault: what breaks the connection, and what makes it possible again. */
interface Fault {
  readonly name: string
  readonly strike: (server: RedisServer.RedisServer) => Effect.Effect<unknown, RedisServer.RedisServerError>
  readonly repair: (server: RedisServer.RedisServer) => Effect.Effect<unknown, RedisServer.RedisServerError>
}

const nothing = () => Effect.void

const kinds = [
  { name: "CLIENT KILL", strike: (server) => server.command(["CLIENT", "KILL", "TYPE", "normal"]), repair: nothing },
  { name: "server stopped, started", strike: (server) => server.stop, repair: (server) => server.start },
  { name: "CLIENT KILL", strike: (server) => server.command(["CLIENT", "KILL", "TYPE", "normal"]), repair: nothing },
  {
    name: "server killed, away for 0.4 s",
    strike: (server) => server.kill,
    repair: (server) => Effect.andThen(Effect.sleep(400), server.start)
  }
] as const satisfies ReadonlyArray<Fault>

/** A fault that was done. */
export interface Struck {
  readonly name: string
  /** When, in milliseconds since the start. */
  readonly at: number
  /** Whether it ended a session that was ready. */
  readonly hit: boolean
  /** How long the connection was not ready, in milliseconds; `undefined` while it is not. */
  downMillis: number | undefined
}

/** A ready session has ended within this time after a fault, or the fault has missed. */
const HIT_MILLIS = 5_000
/** A fault that is due waits this long for a ready session. */
const READY_MILLIS = 10_000
/** How long a session is left alone once it is ready. */
const REST_MILLIS = 350

const strike = Effect.fnUntraced(function* (
  fault: Fault,
  server: RedisServer.RedisServer,
  sessions: SessionsRef,
  report: (struck: Struck) => void,
  elapsed: Effect.Effect<number>
) {
  yield* until(sessions, READY_MILLIS, ({ ready }) => ready)
  yield* Effect.sleep(REST_MILLIS)
  const before = SubscriptionRef.getUnsafe(sessions)
  const at = yield* elapsed
  yield* fault.strike(server)
  const hit = before.ready && (yield* until(sessions, HIT_MILLIS, ({ ended }) => ended > before.ended))
  const struck: Struck = { name: fault.name, at, hit, downMillis: undefined }
  report(struck)
  yield* fault.repair(server)
  yield* until(sessions, READY_MILLIS, ({ ready }) => ready)
  struck.downMillis = (yield* elapsed) - at
  report(struck)
})

/** Breaks things all the time, evenly, and leaves the connection ready. `report` is told of each fault twice: when it was done, and when it is over. */
export const breakThings = Effect.fnUntraced(function* (
  settings: Settings,
  server: RedisServer.RedisServer,
  sessions: SessionsRef,
  report: (struck: Struck) => void
) {
  const startedAt = yield* Clock.currentTimeMillis
  const elapsed = Effect.map(Clock.currentTimeMillis, (now) => now - startedAt)
  const gap = (settings.seconds * 1000) / (settings.faults + 1)
  for (let n = 0; n < settings.faults; n++) {
    const fault = kinds[n % kinds.length]
    if (fault === undefined) break
    yield* Effect.sleep(Math.max(0, (n + 1) * gap - REST_MILLIS - (yield* elapsed)))
    yield* strike(fault, server, sessions, report, elapsed)
  }
  yield* Effect.sleep(Math.max(0, settings.seconds * 1000 - (yield* elapsed)))
})

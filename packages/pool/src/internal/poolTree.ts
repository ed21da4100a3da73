/**
 * A pool and its supervision:
 *
 * ```
 *   pool (supervisor, one for one)
 *   ├─ deadlines, leases (of all members together)
 *   ├─ member-0 (supervisor: a connection and its sessions)
 *   ├─ member-1 …
 *   └─ mover (worker: moves unsent calls; stopped first, it closes all members at once)
 * ```
 *
 * @internal
 */
import * as RedisConnection from "@relive/core/RedisConnection"
import type { RedisError } from "@relive/core/RedisError"
import type { Service, StatusChange } from "@relive/core/RedisService"
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as Process from "@relive/otp/Process"
import * as Registry from "@relive/otp/Registry"
import * as Supervisor from "@relive/otp/Supervisor"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ChildSpecOptions, Input, Pool, PoolEvent } from "../RedisPool.ts"
import { memberName, poolName } from "./names.ts"
import { PoolState } from "./pool.ts"
import { TypeId } from "./typeId.ts"
import { checkName, resolvePool } from "./poolOptions.ts"
import type { ResolvedPool } from "./poolOptions.ts"
import type { MemberSlot } from "./memberSlot.ts"
import { makeChooser } from "./strategies.ts"

/** The number of changes that a slow reader of `events` may be behind. */
const KEPT_CHANGES = 64
const KEPT_EVENTS = 256

/** As OTP counts restarts: how many within which time end the pool. They are of crashed members, not of lost sockets. */
const RESTARTS_PER_MEMBER = 3
const RESTART_PERIOD = "10 seconds"

/** The state, for as long as the scope is open; whatever waits is settled when it closes. */
const makeState = Effect.fnUntraced(function* (options: ResolvedPool) {
  const random = yield* Random.Random
  const next = () => random.nextDoubleUnsafe()
  const changes = yield* PubSub.sliding<StatusChange>(KEPT_CHANGES)
  const events = yield* PubSub.sliding<PoolEvent>(KEPT_EVENTS)
  yield* Effect.addFinalizer(() => Effect.andThen(PubSub.shutdown(changes), PubSub.shutdown(events)))
  const chooser = makeChooser(options.strategy, next)
  const state = new PoolState(options, options.connection.address, chooser, next, changes, events)
  state.shared = yield* RedisConnection.makeShared(options.connection, state.waitingRoomHooks)
  return state
})

const memberSpec = (state: PoolState, slot: MemberSlot, register: Registry.Name<Service> | undefined) =>
  RedisConnection.childSpec({
    id: `member-${slot.index}`,
    shared: state.shared,
    hooks: state.hooksOf(slot),
    onStart: (connection) => state.memberStarted(slot, connection),
    register: register === undefined ? undefined : memberName(register, slot.index)
  })

const moverSpec = (state: PoolState) =>
  ChildSpec.make({
    id: "mover",
    start: Effect.succeed(
      ChildSpec.started({
        run: state.run,
        // Only the pool's own supervisor can stop it by a shutdown: others' signals do not end it.
        terminate: (reason) => Effect.sync(() => (reason._tag === "Shutdown" ? state.beginClose() : undefined))
      })
    )
  })

const treeOf = (state: PoolState, register: Registry.Name<Service> | undefined) =>
  Supervisor.make({
    strategy: "oneForOne",
    intensity: RESTARTS_PER_MEMBER * state.slots.length,
    period: RESTART_PERIOD,
    children: [
      ...state.shared.children,
      ...state.slots.map((slot) => memberSpec(state, slot, register)),
      moverSpec(state)
    ]
  })

const poolOf = (state: PoolState): Pool => {
  const routing: RedisConnection.Routing = {
    choose: state.choose,
    status: Effect.sync(() => state.status),
    events: Stream.fromPubSub(state.changes)
  }
  return {
    [TypeId]: TypeId,
    size: state.slots.length,
    service: RedisConnection.routed(state.shared, routing),
    status: Effect.sync(() => state.poolStatus),
    events: Stream.fromPubSub(state.events)
  }
}

/** Waits for the first member that is ready; fails when no member could be. */
const awaitFirst = (state: PoolState): Effect.Effect<void, RedisError> =>
  Effect.suspend(() =>
    Effect.raceAll(state.slots.flatMap((slot) => (slot.connection === undefined ? [] : [slot.connection.awaitFirst])))
  )

/** A pool as the root of a tree of its own, stopped when the scope closes. */
export const open = (input: Input): Effect.Effect<Pool, RedisError, Scope.Scope> =>
  Effect.gen(function* () {
    const options = yield* resolvePool(input)
    const state = yield* makeState(options)
    const registry = yield* Registry.make()
    const supervisor = yield* Supervisor.start(treeOf(state, undefined), {
      id: options.connection.name ?? "redis-pool"
    }).pipe(
      Effect.provideService(Registry.Registry, registry),
      // Nothing of it can fail: dialling is not a part of the start.
      Effect.orDie
    )
    // A tree that has ended by itself serves nobody: what waits must not wait for ever.
    supervisor.process.addObserver(() => state.shared.close())
    if (options.connection.start === "await") yield* awaitFirst(state)
    return poolOf(state)
  })

/** A pool as observers see it; its members are below it. */
const detailsOf = (pool: PoolState): Process.Details => {
  const { inFlight, queued, ready, sessions, size, state } = pool.poolStatus
  return { kind: "redis pool", facts: { state, ready, size, queued, "in flight": inFlight, sessions } }
}

/** A pool as a child of a user's supervisor. */
export const childSpec = (options: ChildSpecOptions) => {
  const { id, register, restart, shutdown, ...input } = options
  return ChildSpec.make({
    id: id ?? "redis-pool",
    type: "supervisor",
    restart,
    shutdown,
    start: Effect.gen(function* () {
      const resolved = yield* resolvePool(input)
      yield* checkName(register)
      const state = yield* makeState(resolved)
      yield* Process.describe(() => detailsOf(state))
      const started = yield* Supervisor.init(treeOf(state, register))
      if (resolved.connection.start === "await") yield* awaitFirst(state)
      const pool = poolOf(state)
      if (register !== undefined) {
        yield* Registry.register(register, pool.service)
        yield* Registry.register(poolName(register), pool)
      }
      return ChildSpec.started<Pool>({ ...started, info: pool })
    })
  })
}

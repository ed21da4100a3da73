/**
 * A connection and its supervision: a supervisor over the session and what serves it.
 *
 * ```
 *   connection (supervisor: mailbox, state)
 *   ├─ deadlines (worker: one timer for all calls)
 *   ├─ leases (dynamic supervisor; one temporary child per leased connection; started by the first)
 *   ├─ pubsub (dynamic supervisor; a connection for all subscriptions, and one for each that may be suspended)
 *   ├─ session (worker, restarted with backoff: dial, handshake, reader, writer)
 *   └─ intake (worker; nothing but the begin of the close; only below another supervisor)
 * ```
 *
 * The connection contains no restart loop of its own: the session fails, and the supervisor starts the next one.
 *
 * @internal
 */
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as ExitReason from "@relive/otp/ExitReason"
import * as Process from "@relive/otp/Process"
import * as Registry from "@relive/otp/Registry"
import * as Supervisor from "@relive/otp/Supervisor"
import type { SupervisorRef } from "@relive/otp/Supervisor"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { ChildSpecOptions } from "../../Redis.ts"
import type { ChildOptions, Hooks, RedisConnection, Shared } from "../../RedisConnection.ts"
import { RedisError } from "../../RedisError.ts"
import * as RedisOptions from "../../RedisOptions.ts"
import type { Service } from "../../RedisService.ts"
import { Circle } from "../connection/circle.ts"
import { Connection } from "../connection/connection.ts"
import { Leases } from "../connection/leases.ts"
import { makeSubscribe } from "../pubsub/stream.ts"
import { Subscribers } from "../pubsub/subscribers.ts"
import type { SubscriberSpec } from "../pubsub/subscribers.ts"
import type { Subscriber } from "../pubsub/subscriber.ts"
import { StateLog } from "../telemetry/logging.ts"
import type { LeaseSpec } from "../connection/leases.ts"
import { closeSession, makeSession, shutdown } from "../connection/runSession.ts"
import { withKeyPrefix } from "./keyPrefix.ts"
import { makeService } from "./service.ts"
import type { Session } from "../connection/session.ts"
import { withSentinels } from "./sentinels.ts"
import { serverGroupOf, ServerGroup } from "./shared.ts"
import { makeObserve } from "../telemetry/calls.ts"
import { publish } from "../telemetry/connections.ts"
import type { OnChange } from "../telemetry/connections.ts"

/** A kill comes this much after the close's own deadline: only a defect of ours could need it. */
const SHUTDOWN_GRACE_MILLIS = 1000

/** The identity; whatever is left is settled when the scope closes, as the last thing. */
const makeConnection = (
  options: RedisOptions.Resolved,
  kind: "shared" | "leased",
  circle: Circle,
  hooks?: Hooks
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const random = yield* Random.Random
    const connection = new Connection(options, kind, clock, () => random.nextDoubleUnsafe(), hooks, circle)
    yield* Effect.addFinalizer(() =>
      Effect.andThen(
        Effect.andThen(
          Effect.sync(() => connection.close()),
          connection.settled
        ),
        connection.endEvents
      )
    )
    return connection
  })

/** One that dials: what finds its server is told of it. */
const makeDialling = (
  options: RedisOptions.Resolved,
  kind: "shared" | "leased",
  circle: Circle,
  hooks?: Hooks
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.tap(makeConnection(options, kind, circle, hooks), (connection) => {
    const detach = options.resolver?.attach?.(connection)
    return detach === undefined ? Effect.void : Effect.addFinalizer(() => Effect.sync(detach))
  })

/** Writes the log of a connection with the loggers of its maker. */
const makeLog = (connection: Connection, name: string | undefined): Effect.Effect<StateLog> =>
  Effect.contextWith((context: Context.Context<never>) =>
    // A logger that throws is its owner's to find: it must not end a session.
    Effect.succeed(new StateLog(connection, name, (line) => void Effect.runSyncExitWith(context)(line)))
  )

interface ObservedConnection {
  readonly connection: Connection
  /** Set once there is what can be measured. */
  metrics: OnChange | undefined
}

/** A connection whose changes are told: to the log, to metrics if they are on, and to the hooks of its owner. */
const makeObserved = (
  options: RedisOptions.Resolved,
  label: string | undefined,
  circle: Circle,
  hooks: Hooks | undefined
): Effect.Effect<ObservedConnection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const onChange: Hooks["onChange"] = (connection, change) => {
      const now = connection.now()
      observed.metrics?.(change, now)
      log.changed(change, now)
      hooks?.onChange?.(connection, change)
    }
    const connection = yield* makeDialling(options, "shared", circle, { ...hooks, onChange })
    const log = yield* makeLog(connection, label ?? options.name)
    log.onOwed = (at) => connection.deadlines.watch(at)
    connection.attach({ sweep: (now) => log.look(now) })
    const observed: ObservedConnection = { connection, metrics: undefined }
    return observed
  })

/** The connection knows how long to wait; the schedule only asks it. */
const backoff = (connection: Connection): Schedule.Schedule<number, unknown> =>
  Schedule.fromStep(
    Effect.succeed(() =>
      Effect.sync(
        () => [connection.backoffMillis, Duration.millis(connection.backoffMillis)] as [number, Duration.Duration]
      )
    )
  )

/** Makes a session and its run, for its child. The finalizer settles what no other end has settled, also after a kill. */
const acquireSession = (connection: Connection, subscriber?: Subscriber) =>
  Effect.gen(function* () {
    const makeFeed = subscriber && ((session: Session) => subscriber.feedFor(session, connection))
    const made = makeSession(connection, makeFeed)
    yield* Effect.addFinalizer(() => Effect.sync(() => made.session.die(shutdown)))
    return made
  })

/** The backoff holds the later ones back. */
const firstDial = <A, E, R>(connection: Connection, run: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const delay = connection.status.sessions === 0 ? connection.dialDelayMillis : 0
  return delay > 0 ? Effect.delay(run, delay) : run
}

/** With `isLast` its end is that of the connection, by the supervisor's `autoShutdown`. */
const sessionSpec = (connection: Connection, isLast = false, subscriber?: Subscriber) =>
  ChildSpec.make({
    id: "session",
    ...(isLast
      ? { restart: "temporary", significant: true }
      : { restart: "permanent", backoff: backoff(connection), restartWhen: connection.awaitDialNow }),
    shutdown: connection.options.closeTimeoutMillis + SHUTDOWN_GRACE_MILLIS,
    // The connection logs them, in words.
    logEnds: false,
    start: Effect.map(acquireSession(connection, subscriber), ({ run, session }) =>
      ChildSpec.started({
        run: firstDial(connection, run),
        terminate: () => closeSession(connection, session),
        mailboxDepth: () => connection.status.queued
      })
    )
  })

/** A lease: a connection with one session. Its end is no crash: its holder is told. */
const leaseSpec =
  (owner: Connection): LeaseSpec =>
  (handOut) =>
    ChildSpec.make({
      id: "lease",
      restart: "temporary",
      shutdown: owner.options.closeTimeoutMillis + SHUTDOWN_GRACE_MILLIS,
      start: Effect.gen(function* () {
        const connection = yield* makeDialling({ ...owner.options, protocol: owner.protocol }, "leased", owner.circle)
        connection.greeting = owner.greeting
        connection.secrets = owner.secrets
        const { run, session } = yield* acquireSession(connection)
        handOut({ connection, session })
        return ChildSpec.started({
          // Beside the body, as the deadlines hold for the calls that drain at the close.
          run: Effect.andThen(Process.fork(connection.deadlines.run, { label: "deadlines" }), Effect.ignore(run)),
          // The drain of the connection itself came first: there is one `closeTimeout` for all.
          terminate: () => closeSession(connection, session, owner.closeMillis)
        })
      })
    })

/** Ends when the connection is not needed any more, and its supervisor with it. */
const idleSpec = (subscriber: Subscriber) =>
  ChildSpec.effect({ id: "idle", restart: "transient", significant: true, run: subscriber.idle })

/** A connection for pub/sub: it is told as one of its own, beside the one that it belongs to. */
const subscriberSpec =
  (owner: Connection, subscribers: () => Subscribers): SubscriberSpec =>
  (subscriber) =>
    ChildSpec.make({
      id: subscriber.options.id,
      type: "supervisor",
      restart: "transient",
      start: Effect.gen(function* () {
        const options = { ...owner.options, protocol: owner.protocol }
        const label = options.name === undefined ? "pub/sub" : `${options.name} (pub/sub)`
        const observed = yield* makeObserved(options, label, owner.circle, undefined)
        observed.metrics = yield* publish(options, label, observed.connection, undefined)
        observed.connection.eager = true
        subscriber.attach(observed.connection)
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => (subscriber.open ? undefined : subscribers().ended(subscriber)))
        )
        return yield* Supervisor.init(
          Supervisor.make({
            autoShutdown: "anySignificant",
            children: [sessionSpec(observed.connection, false, subscriber), idleSpec(subscriber)]
          })
        )
      })
    })

/** The connections for pub/sub of a connection, or of several. */
const makeSubscribers = (owner: Connection): Subscribers => {
  const subscribers: Subscribers = new Subscribers(
    owner,
    subscriberSpec(owner, () => subscribers)
  )
  return subscribers
}

const deadlinesSpec = (connection: Connection) => ChildSpec.effect({ id: "deadlines", run: connection.deadlines.run })

/**
 * Stopped first, so that the close begins in any state: between two sessions there is none that could begin it. Nobody but
 * the connection's own supervisor can stop it by a shutdown: others' signals do not end it.
 */
const intakeSpec = (connection: Connection) =>
  ChildSpec.make({
    id: "intake",
    start: Effect.succeed(
      ChildSpec.started({
        run: Effect.never,
        terminate: ({ _tag }) => Effect.sync(() => (_tag === "Shutdown" ? connection.beginClose() : undefined))
      })
    )
  })

/** The leases of a connection, whose deadlines and clock they use. */
const makeLeases = (owner: Connection, together?: Leases): Leases => {
  const leases = new Leases(owner, leaseSpec(owner), together?.bound)
  owner.circle.join(leases)
  owner.attach(leases)
  return leases
}

/**
 * A connection and what supervises its parts. Stopped in reverse: deadlines hold for the calls that drain at the close. As a
 * child of another supervisor it has an intake; else its closer begins the close.
 */
const makeTree = (given: RedisOptions.Resolved, isChild: boolean, exitOnDisconnection = false, label?: string) =>
  Effect.gen(function* () {
    const { children: finding, options } = yield* withSentinels(given, { makeShared, memberSpec })
    const observed = yield* makeObserved(options, label, new Circle(), undefined)
    const { connection } = observed
    const leases = makeLeases(connection)
    const subscribers = makeSubscribers(connection)
    observed.metrics = yield* publish(options, label, connection, leases)
    const observe = yield* makeObserve(options)
    const annexes = [leases.annex, subscribers.annex]
    for (const annex of annexes) annex.startWhenNeeded()
    const spec = Supervisor.make({
      autoShutdown: exitOnDisconnection ? "anySignificant" : "never",
      children: [
        ...finding,
        deadlinesSpec(connection),
        leases.annex.spec,
        subscribers.annex.spec,
        sessionSpec(connection, exitOnDisconnection),
        ...(isChild ? [intakeSpec(connection)] : [])
      ]
    })
    const service = withKeyPrefix(
      observe(makeService(connection, leases, makeSubscribe(subscribers))),
      options.keyPrefix
    )
    return {
      connection,
      spec,
      service,
      onStart: (tree: SupervisorRef) => annexes.forEach((annex) => annex.belongsTo(tree))
    }
  })

/** See `RedisConnection.makeShared`. */
export const makeShared = (
  given: RedisOptions.Resolved,
  hooks?: Hooks,
  together?: Shared
): Effect.Effect<Shared, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { children: finding, options } = yield* withSentinels(given, { makeShared, memberSpec })
    const waiting = yield* makeConnection(options, "shared", new Circle(), hooks)
    const leases = makeLeases(waiting, together === undefined ? undefined : serverGroupOf(together).leasing)
    const subscribers = makeSubscribers(waiting)
    yield* publish(options, undefined, undefined, leases)
    const children = [...finding, deadlinesSpec(waiting), leases.annex.spec, subscribers.annex.spec]
    return new ServerGroup(waiting, leases, subscribers, children, yield* makeObserve(options))
  })

/** Leases are dialled in the protocol that was settled first, whichever connection settled it. */
const settlesProtocol = (waiting: Connection, hooks: Hooks | undefined): Hooks => ({
  ...hooks,
  onChange: (connection, change) => {
    if (change.state === "ready") waiting.protocol = connection.status.protocol ?? waiting.protocol
    hooks?.onChange?.(connection, change)
  }
})

/** See `RedisConnection.childSpec`. */
export const memberSpec = (options: ChildOptions): ChildSpec.ChildSpec<RedisConnection, Registry.Registry> => {
  const { hooks, id, onStart, register, restart, shutdown } = options
  const { leasing, observe, subscribe, waiting } = serverGroupOf(options.shared)
  return ChildSpec.make({
    id,
    type: "supervisor",
    restart,
    shutdown,
    start: Effect.gen(function* () {
      const own = settlesProtocol(waiting, hooks)
      const observed = yield* makeObserved(waiting.options, id, waiting.circle, own)
      const { connection } = observed
      observed.metrics = yield* publish(waiting.options, id, connection, undefined)
      yield* Process.describe(() => detailsOf(connection))
      const service = withKeyPrefix(observe(makeService(connection, leasing, subscribe)), waiting.options.keyPrefix)
      const spec = Supervisor.make({ children: [deadlinesSpec(connection), sessionSpec(connection)] })
      const started = yield* Supervisor.init(spec)
      if (register !== undefined) yield* Registry.register(register, service)
      onStart?.(connection, service)
      return ChildSpec.started<RedisConnection>({ ...started, info: connection })
    })
  })
}

/** A connection for a layer: the root of a tree of its own, stopped when the scope closes. */
export const open = (options: RedisOptions.Resolved): Effect.Effect<Service, RedisError, Scope.Scope> =>
  Effect.gen(function* () {
    const { connection, onStart, service, spec } = yield* makeTree(options, false)
    const registry = yield* Registry.make()
    const supervisor = yield* Supervisor.start(spec, { id: options.name ?? "redis" }).pipe(
      Effect.provideService(Registry.Registry, registry),
      // Nothing of it can fail: dialling is not a part of the start.
      Effect.orDie
    )
    onStart(supervisor)
    // Before the tree is stopped, so that the close begins in any state.
    yield* Effect.addFinalizer(() => Effect.sync(() => connection.beginClose()))
    // A tree that has ended by itself, which takes a defect of ours, leaves nobody who would serve the calls.
    supervisor.process.addObserver(() => connection.close())
    if (options.start === "await") yield* connection.awaitFirst
    return service
  })

/** A connection as observers see it: no argument, no key, no secret. */
const detailsOf = (connection: Connection): Process.Details => {
  const { address, inFlight, lastError, protocol, queued, sessions, state } = connection.status
  return {
    kind: "redis connection",
    facts: { state, queued, "in flight": inFlight, sessions, protocol, address, "last error": lastError?.message }
  }
}

/**
 * Its supervisor ends with `shutdown` when the session was the last one, as OTP's does. The process ends with what the
 * connection was lost to, so that monitors hear of it, and a transient child is restarted.
 */
const endWithItsError = <E, R>(connection: Connection, run: Effect.Effect<unknown, E, R>) =>
  Effect.catchCause(run, (cause) => {
    const { lastError } = connection.status
    return lastError === undefined ? Effect.failCause(cause) : Process.exit(ExitReason.crash(lastError))
  })

/** A connection as a child of a user's supervisor: its process is the connection's supervisor. */
export const childSpec = (options: ChildSpecOptions) => {
  const { exitOnDisconnection, id, register, restart, shutdown, ...connectionOptions } = options
  return ChildSpec.make({
    id: id ?? "redis",
    type: "supervisor",
    restart,
    shutdown,
    start: Effect.gen(function* () {
      const resolved = yield* Effect.mapError(
        Effect.fromResult(RedisOptions.resolve(connectionOptions)),
        (reason) => new RedisError({ reason })
      )
      const { connection, onStart, service, spec } = yield* makeTree(resolved, true, exitOnDisconnection, id)
      yield* Process.describe(() => detailsOf(connection))
      const started = yield* Supervisor.init(spec)
      onStart(started.info)
      if (resolved.start === "await") yield* connection.awaitFirst
      if (register !== undefined) yield* Registry.register(register, service)
      const run = exitOnDisconnection === true ? endWithItsError(connection, started.run) : started.run
      return ChildSpec.started({ ...started, run, info: service })
    })
  })
}

/**
 * A connection and its supervision: a supervisor with one child, the session.
 *
 * ```
 *   connection (supervisor: mailbox, state)
 *   ├─ deadlines (worker: one timer for all calls)
 *   └─ session (worker, restarted with backoff: dial, handshake, reader, writer)
 * ```
 *
 * The connection contains no restart loop of its own: the session fails, and the supervisor starts the next one.
 *
 * @internal
 */
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as Registry from "@relive/otp/Registry"
import * as Supervisor from "@relive/otp/Supervisor"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { ChildSpecOptions } from "../Redis.ts"
import { RedisError } from "../RedisError.ts"
import * as RedisOptions from "../RedisOptions.ts"
import type { Service, StatusChange } from "../RedisService.ts"
import * as Resp from "../Resp.ts"
import { Connection } from "./connection.ts"
import { closeSession, runSession, shutdown } from "./runSession.ts"
import { makeService } from "./service.ts"
import { Session } from "./session.ts"

/** How many changes of state a slow reader of `events` may be behind. */
const KEPT_CHANGES = 64

/** A kill comes this much after the close's own deadline: only a defect of ours could need it. */
const SHUTDOWN_GRACE_MILLIS = 1000

/** The identity; whatever is left is settled when the scope closes, as the last thing. */
const makeConnection = (options: RedisOptions.Resolved): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const random = yield* Random.Random
    const changes = yield* PubSub.sliding<StatusChange>(KEPT_CHANGES)
    const connection = new Connection(options, clock, () => random.nextDoubleUnsafe(), changes)
    yield* Effect.addFinalizer(() =>
      Effect.andThen(
        Effect.sync(() => connection.close()),
        PubSub.shutdown(changes)
      )
    )
    return connection
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

const startSession = (connection: Connection) =>
  Effect.gen(function* () {
    const decoder = Resp.makeDecoder({ limits: connection.options.limits })
    const session = new Session(connection, connection.options, decoder)
    // Runs also when the child is killed, and settles what no other end has settled.
    yield* Effect.addFinalizer(() => Effect.sync(() => session.die(shutdown)))
    return ChildSpec.started({
      run: runSession(connection, session, decoder),
      terminate: () => closeSession(connection, session),
      mailboxDepth: () => connection.status.queued
    })
  })

const supervisor = (connection: Connection) =>
  Supervisor.make({
    strategy: "oneForOne",
    children: [
      // First, so that it is stopped last: the calls that drain at the close have deadlines too.
      ChildSpec.effect({ id: "deadlines", run: connection.deadlines.run }),
      ChildSpec.make({
        id: "session",
        start: startSession(connection),
        restart: "permanent",
        shutdown: connection.options.closeTimeoutMillis + SHUTDOWN_GRACE_MILLIS,
        backoff: backoff(connection)
      })
    ]
  })

/** A connection for a layer: the root of a tree of its own, stopped when the scope closes. */
export const open = (options: RedisOptions.Resolved): Effect.Effect<Service, RedisError, Scope.Scope> =>
  Effect.gen(function* () {
    const connection = yield* makeConnection(options)
    const registry = yield* Registry.make()
    yield* Supervisor.start(supervisor(connection), { id: options.name ?? "redis" }).pipe(
      Effect.provideService(Registry.Registry, registry),
      // Nothing of it can fail: dialling is not a part of the start.
      Effect.orDie
    )
    if (options.start === "await") yield* connection.awaitFirst
    return makeService(connection)
  })

/** A connection as a child of a user's supervisor: its process is the connection's supervisor. */
export const childSpec = (options: ChildSpecOptions) => {
  const { id, register, restart, shutdown, ...connectionOptions } = options
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
      const connection = yield* makeConnection(resolved)
      const started = yield* Supervisor.init(supervisor(connection))
      if (resolved.start === "await") yield* connection.awaitFirst
      const service = makeService(connection)
      if (register !== undefined) yield* Registry.register(register, service)
      return ChildSpec.started({ ...started, info: service })
    })
  })
}

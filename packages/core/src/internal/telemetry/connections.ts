/**
 * Metrics of connections and leases, by OpenTelemetry's conventions for databases. See `Telemetry`.
 *
 * A count that is a plain field is registered as a series that is read when metrics are collected.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { Resolved } from "../../RedisOptions.ts"
import type { ConnectionState, StatusChange } from "../../RedisService.ts"
import { Telemetry } from "../../Telemetry.ts"
import { commonAttributes, histogram, OTHER, type Attributes } from "./attributes.ts"

/** The measurements of a connection, read from its own fields. */
export interface Measured {
  readonly state: ConnectionState
  readonly now: () => number
  readonly queued: number
  readonly inFlight: number
}

/** The measurements of leases, and their listeners. */
export interface MeasuredLeases {
  readonly status: { readonly out: number; readonly idle: number; readonly waiting: number }
  readonly timeouts: number
  onWaited: ((millis: number) => void) | undefined
  onUsed: ((millis: number) => void) | undefined
}

/** Names that are in use, by registry, so that two connections to one server are two series. */
const names = new WeakMap<object, Set<string>>()

/** Takes the first free one of `wanted`, `wanted#2` …; returns it and what gives it back. */
const takeName = (context: Context.Context<never>, wanted: string): readonly [name: string, free: () => void] => {
  const registry = Context.get(context, Metric.MetricRegistry)
  const used = names.get(registry) ?? new Set<string>()
  names.set(registry, used)
  let name = wanted
  for (let n = 2; used.has(name); n++) name = `${wanted}#${n}`
  used.add(name)
  return [name, () => used.delete(name)]
}

const poolName = (options: Resolved, label: string | undefined): string =>
  label ?? options.name ?? `${options.address}/${options.database}`

/** Tells of the changes of a connection's state. */
export type OnChange = (change: StatusChange, now: number) => void

/**
 * Publishes the counts of a connection, or of leases, or of both, until the scope closes. Returns what wants to be told of
 * changes of state; `undefined` when metrics are off.
 */
export const publish = (
  options: Resolved,
  label: string | undefined,
  connection: Measured | undefined,
  leases: MeasuredLeases | undefined
): Effect.Effect<OnChange | undefined, never, Scope.Scope> =>
  Effect.contextWith((context: Context.Context<Scope.Scope>) => {
    if (!Context.get(context, Telemetry).metrics) return Effect.succeed(undefined)
    const [name, free] = takeName(context, poolName(options, label))
    const attributes: Attributes = { ...commonAttributes(options), "db.client.connection.pool.name": name }
    const registrations: Array<Metric.Registration> = []
    const gauge = (name: string, description: string, value: () => number, more?: Attributes): void => {
      const metric = Metric.gauge(name, { description, attributes: { ...attributes, ...more } })
      registrations.push(
        Metric.registerUnsafe(metric, context, { get: () => ({ value: value() }), update: ignore, modify: ignore })
      )
    }
    const open = (): number => (connection?.state === "ready" ? 1 : 0)
    const count = "db.client.connection.count"
    const what = "The number of connections that are currently in the state"
    gauge(count, what, () => open() + (leases?.status.out ?? 0), { "db.client.connection.state": "used" })
    if (connection !== undefined) {
      gauge("redis.client.calls.queued", "Commands that are not written yet", () => connection.queued)
      gauge("redis.client.calls.in_flight", "Commands that are written and not answered", () => connection.inFlight)
    }
    if (leases !== undefined) {
      gauge(count, what, () => leases.status.idle, { "db.client.connection.state": "idle" })
      gauge(
        "db.client.connection.max",
        "The maximum number of open connections allowed",
        () => options.leases + (connection === undefined ? 0 : 1)
      )
      gauge(
        "db.client.connection.pending_requests",
        "Callers that wait for a connection of their own",
        () => leases.status.waiting
      )
      registrations.push(registerTimeouts(context, attributes, leases))
      observeLeases(context, attributes, leases)
    }
    const remove = Effect.sync(() => {
      for (const registration of registrations) registration.remove()
      free()
    })
    return Effect.as(
      Effect.addFinalizer(() => remove),
      connection === undefined ? undefined : sessions(context, attributes, connection.now())
    )
  })

const ignore = (): void => {}

const registerTimeouts = (context: Context.Context<never>, attributes: Attributes, leases: MeasuredLeases) =>
  Metric.registerUnsafe(
    Metric.counter("db.client.connection.timeouts", {
      description: "Callers that got no connection of their own in time",
      attributes,
      incremental: true
    }),
    context,
    { get: () => ({ count: leases.timeouts, incremental: true }), update: ignore, modify: ignore }
  )

const observeLeases = (context: Context.Context<never>, attributes: Attributes, leases: MeasuredLeases): void => {
  const wait = histogram(
    "db.client.connection.wait_time",
    "The time it took to obtain an open connection from the pool",
    attributes
  )
  const use = histogram(
    "db.client.connection.use_time",
    "The time between borrowing a connection and returning it to the pool",
    attributes
  )
  leases.onWaited = (millis) => wait.updateUnsafe(millis / 1000, context)
  leases.onUsed = (millis) => use.updateUnsafe(millis / 1000, context)
}

/** How long sessions take to get ready, and how they end. */
const sessions = (context: Context.Context<never>, attributes: Attributes, firstDial: number): OnChange => {
  const create = histogram(
    "db.client.connection.create_time",
    "The time it took to create a new connection",
    attributes
  )
  let dialled: number | undefined = firstDial
  return (change, now) => {
    if (change.state === "connecting") dialled = now
    else if (change.state === "ready") {
      if (dialled !== undefined) create.updateUnsafe((now - dialled) / 1000, context)
      dialled = undefined
    } else if (change.state === "backoff" || change.state === "failed") {
      const reason = change.cause?.reason
      const type = reason?._tag === "ConnectionError" ? reason.kind : OTHER
      Metric.counter("redis.client.connection.closed", {
        description: "Sessions that have ended, and dials that failed",
        attributes: { ...attributes, "error.type": type },
        incremental: true
      }).updateUnsafe(1, context)
    }
  }
}

/**
 * Spans and metrics of calls and connections, by OpenTelemetry's conventions for databases. See `Telemetry`.
 *
 * A service that is observed is wrapped; one that is not is left as it is, so that what is off costs nothing. What can be
 * read from plain fields (counts) is registered as a series that is read when metrics are collected.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { Span } from "effect/Tracer"
import * as CommandTable from "../../CommandTable.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Resolved } from "../../RedisOptions.ts"
import type { CallOptions, ConnectionState, Service, StatusChange } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { Telemetry } from "../../Telemetry.ts"

// -------------------------------------------------------------------------------------------------------- attributes

type Attributes = Readonly<Record<string, string>>

const DEFAULT_PORT = 6379

/** What all spans and metrics of a connection have in common. The port only where it is not the usual one. */
const commonAttributes = ({ database, endpoint }: Resolved): Attributes => ({
  "db.system.name": "redis",
  "db.namespace": String(database),
  "server.address": endpoint._tag === "Unix" ? endpoint.path : endpoint.host,
  ...(endpoint._tag === "Tcp" && endpoint.port !== DEFAULT_PORT ? { "server.port": String(endpoint.port) } : {})
})

/** What OpenTelemetry says where a value is not one of the known ones. */
const OTHER = "_OTHER"

/** A command's name as it was written. What is no known command is not shown: it may be anything. */
const commandName = (command: Resp.Command | undefined): string => {
  const name = Array.isArray(command) ? command[0] : undefined
  return typeof name === "string" && CommandTable.isKnown(name) ? name : OTHER
}

/** `PIPELINE GET` when all commands are the same, else `PIPELINE`. */
const batchName = (prefix: string, commands: ReadonlyArray<Resp.Command>): string => {
  if (!Array.isArray(commands) || commands.length === 0) return prefix
  const first = commandName(commands[0])
  if (first === OTHER) return prefix
  for (const command of commands) if (commandName(command) !== first) return prefix
  return `${prefix} ${first}`
}

/** Scripts and modules may answer any text as a code. */
const isCode = (code: string): boolean => /^[A-Z][A-Z0-9_]{0,31}$/.test(code)

/** `error.type`, and the server's own code if it was the server. */
const failureAttributes = (exit: Exit.Exit<unknown, RedisError>): Attributes | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const fail = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  if (fail === undefined) return { "error.type": Exit.hasInterrupts(exit) ? "interrupted" : OTHER }
  const { reason } = fail.error
  if (reason._tag === "ConnectionError") return { "error.type": reason.kind }
  if (reason._tag !== "ReplyError") return { "error.type": reason._tag }
  const code = isCode(reason.code) ? reason.code : OTHER
  return { "error.type": code, "db.response.status_code": code }
}

// ------------------------------------------------------------------------------------------------------------ metrics

/** The boundaries that the conventions ask for, in seconds. */
const durations = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]

const histogram = (name: string, description: string, attributes: Attributes) =>
  Metric.histogram(name, { description, attributes: { ...attributes, unit: "s" }, boundaries: durations })

/** More series than this are one. */
const MAX_SERIES = 2000

/** The durations of calls, one series for each operation and outcome. */
class Durations {
  private readonly common: Attributes
  private readonly context: Context.Context<never>
  private readonly series = new Map<string, Metric.Histogram<number>>()

  constructor(common: Attributes, context: Context.Context<never>) {
    this.common = common
    this.context = context
  }

  record(operation: string, failure: Attributes | undefined, seconds: number): void {
    const key = failure === undefined ? operation : `${operation} ${failure["error.type"]}`
    let series = this.series.get(key)
    if (series === undefined) {
      if (this.series.size >= MAX_SERIES) return this.record(OTHER, undefined, seconds)
      series = histogram("db.client.operation.duration", "Duration of database client operations", {
        ...this.common,
        "db.operation.name": operation,
        ...failure
      })
      this.series.set(key, series)
    }
    series.updateUnsafe(seconds, this.context)
  }
}

// -------------------------------------------------------------------------------------------------------------- calls

/** Observes the calls of a service. */
class Observer {
  private readonly attributes: Attributes
  private readonly durations: Durations | undefined
  private readonly spans: boolean
  private readonly clock: Clock.Clock

  constructor(telemetry: Telemetry, options: Resolved, context: Context.Context<never>) {
    this.attributes = commonAttributes(options)
    this.durations = telemetry.metrics ? new Durations(this.attributes, context) : undefined
    this.spans = telemetry.spans
    this.clock = Context.get(context, Clock.Clock)
  }

  /** `size` is the number of commands of a batch, 1 for a single command. */
  call<A, R>(
    operation: string,
    size: number,
    effect: Effect.Effect<A, RedisError, R>
  ): Effect.Effect<A, RedisError, R> {
    const { durations } = this
    const timed = durations === undefined ? effect : this.timed(durations, operation, effect)
    return this.spans ? this.traced(operation, size, timed) : timed
  }

  private timed<A, R>(durations: Durations, operation: string, effect: Effect.Effect<A, RedisError, R>) {
    return Effect.suspend(() => {
      const start = this.clock.monotonicTimeNanosUnsafe()
      return Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          const seconds = Number(this.clock.monotonicTimeNanosUnsafe() - start) / 1e9
          durations.record(operation, failureAttributes(exit), seconds)
        })
      )
    })
  }

  private traced<A, R>(operation: string, size: number, effect: Effect.Effect<A, RedisError, R>) {
    const attributes = { ...this.attributes, "db.operation.name": operation }
    const batch = size > 1 ? { ...attributes, "db.operation.batch.size": size } : attributes
    const options = { kind: "client", attributes: batch } as const
    return Effect.useSpan(operation, options, (span) =>
      Effect.onExit(effect, (exit) => Effect.sync(() => mark(span, failureAttributes(exit))))
    )
  }
}

const mark = (span: Span, failure: Attributes | undefined): void => {
  if (failure === undefined) return
  for (const [name, value] of Object.entries(failure)) span.attribute(name, value)
}

class ObservedService implements Service {
  private readonly inner: Service
  private readonly observer: Observer

  constructor(inner: Service, observer: Observer) {
    this.inner = inner
    this.observer = observer
  }

  readonly command = (command: Resp.Command, options?: CallOptions) =>
    this.observer.call(commandName(command), 1, this.inner.command(command, options))

  readonly pipeline = (commands: ReadonlyArray<Resp.Command>, options?: CallOptions) =>
    this.batch("PIPELINE", commands, this.inner.pipeline(commands, options))

  readonly transaction = (commands: ReadonlyArray<Resp.Command>, options?: CallOptions) =>
    this.batch("MULTI", commands, this.inner.transaction(commands, options))

  readonly noreply = (commands: ReadonlyArray<Resp.Command>, options?: CallOptions) =>
    this.batch("PIPELINE", commands, this.inner.noreply(commands, options))

  readonly lease: Service["lease"] = (options) =>
    Effect.map(this.inner.lease(options), (lease) => new ObservedService(lease, this.observer))

  get status(): Service["status"] {
    return this.inner.status
  }

  get events(): Service["events"] {
    return this.inner.events
  }

  get timeoutMillis(): number {
    return this.inner.timeoutMillis
  }

  private batch<A, R>(prefix: string, commands: ReadonlyArray<Resp.Command>, effect: Effect.Effect<A, RedisError, R>) {
    const size = Array.isArray(commands) ? commands.length : 1
    return this.observer.call(batchName(prefix, commands), size, effect)
  }
}

/** What wraps the services of a connection, by the switch that is in force now: nothing when it is off. */
export const makeObserve = (options: Resolved): Effect.Effect<(service: Service) => Service> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const telemetry = Context.get(context, Telemetry)
    if (!telemetry.spans && !telemetry.metrics) return Effect.succeed((service: Service) => service)
    const observer = new Observer(telemetry, options, context)
    return Effect.succeed((service: Service): Service => new ObservedService(service, observer))
  })

// -------------------------------------------------------------------------------------------------------- connections

/** What is measured of a connection, read from its own fields. */
export interface Measured {
  readonly state: ConnectionState
  readonly now: () => number
  readonly queued: number
  readonly inFlight: number
}

/** What is measured of leases, and who is told of each. */
export interface MeasuredLeases {
  readonly status: { readonly out: number; readonly idle: number; readonly waiting: number }
  readonly timeouts: number
  onWaited: ((millis: number) => void) | undefined
  onUsed: ((millis: number) => void) | undefined
}

/** Names that are in use, by registry, so that two connections to one server are two series. */
const names = new WeakMap<object, Set<string>>()

/** Takes the first free one of `wanted`, `wanted#2` …; answers it and what gives it back. */
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
 * Publishes the counts of a connection, or of leases, or of both, until the scope closes. Answers what wants to be told of
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

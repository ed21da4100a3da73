/**
 * Spans and metrics of calls, by OpenTelemetry's conventions for databases. See `Telemetry`.
 *
 * A service that is observed is wrapped; one that is not is left as it is, so that what is off costs nothing.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Metric from "effect/Metric"
import type { Span } from "effect/Tracer"
import * as CommandTable from "../../CommandTable.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Resolved } from "../../RedisOptions.ts"
import type { CallOptions, Service } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { Telemetry } from "../../Telemetry.ts"
import { commonAttributes, histogram, OTHER, type Attributes } from "./attributes.ts"

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

/** Scripts and modules may return any text as a code. */
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

  get scan(): Service["scan"] {
    return this.inner.scan
  }

  get subscribe(): Service["subscribe"] {
    return this.inner.subscribe
  }

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

/** Makes the wrapper of a connection's services, by the switch that is in force now: none when it is off. */
export const makeObserve = (options: Resolved): Effect.Effect<(service: Service) => Service> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const telemetry = Context.get(context, Telemetry)
    if (!telemetry.spans && !telemetry.metrics) return Effect.succeed((service: Service) => service)
    const observer = new Observer(telemetry, options, context)
    return Effect.succeed((service: Service): Service => new ObservedService(service, observer))
  })

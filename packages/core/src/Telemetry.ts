/**
 * Spans and metrics of connections for an observability backend, and the switch for them. Off by default, and then they cost
 * nothing.
 *
 * ```ts
 * import { Redis, RedisLive } from "@relive/core"
 * import { Effect, Layer } from "effect"
 *
 * const ObservedLive = RedisLive.pipe(Layer.provide(Layer.succeed(Redis.Telemetry, { spans: true, metrics: true })))
 * const program = Effect.provide(Redis.command(["GET", "greeting"]), ObservedLive)
 * ```
 *
 * Names follow OpenTelemetry's conventions for databases. No argument, key or value is ever a part of it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

/**
 * The settings of telemetry.
 *
 * - `spans`: a span of kind `client` for each call, under the caller's span (some microseconds per call)
 * - `metrics`: `db.client.operation.duration` for each call (about a microsecond per call), and `db.client.connection.*`,
 *   which is read when metrics are collected
 *
 * @category models
 * @since 0.1.0
 */
export interface Telemetry {
  readonly spans: boolean
  readonly metrics: boolean
}

/**
 * The switch. It is read once by each connection, when it is made: provide it to the layer (or the tree) of the connection,
 * not to single calls. Default: all off.
 *
 * @category references
 * @since 0.1.0
 */
export const Telemetry: Context.Reference<Telemetry> = Context.Reference<Telemetry>("@relive/core/Telemetry", {
  defaultValue: () => ({ spans: false, metrics: false })
})

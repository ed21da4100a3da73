/**
 * Redis for programs: commands, pipelines, and the layers and child specs that provide a connection for them.
 *
 * ```ts
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Redis, RedisLive } from "@relive/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   yield* Redis.command(["SET", "greeting", "hello"])
 *   return yield* Redis.command(["GET", "greeting"])
 * })
 *
 * program.pipe(Effect.provide(RedisLive), NodeRuntime.runMain)
 * ```
 *
 * One connection serves any number of fibers at once: commands of all of them go out together, replies come back in
 * order. When the socket fails, a supervisor starts the next session; calls that were not sent wait for it, reads that
 * were are repeated, and a write that was fails with `delivery: "unknown"`, since nobody can know.
 *
 * @since 0.1.0
 */
import type * as ChildSpec from "@relive/otp/ChildSpec"
import * as Registry from "@relive/otp/Registry"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as api from "./internal/api.ts"
import * as connectionTree from "./internal/connectionTree.ts"
import { namedService } from "./internal/named.ts"
import type { RedisError } from "./RedisError.ts"
import * as RedisOptions from "./RedisOptions.ts"
import { RedisService } from "./RedisService.ts"
import type { CallOptions, PipelineReply, Service, Status, StatusChange } from "./RedisService.ts"
import type * as Resp from "./Resp.ts"

/**
 * Options of a command whose reply is decoded by a schema: the reply as it came is the encoded side.
 *
 * @category models
 * @since 0.1.0
 */
export interface SchemaOptions<S extends Schema.Constraint> extends CallOptions {
  readonly schema: S
}

/**
 * The calls of this module, for one tag of a service: `Redis.Tag` gives them to instances of your own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Calls<Self> {
  /** See `Redis.command`. */
  readonly command: {
    <S extends Schema.Constraint>(
      command: Resp.Command,
      options: SchemaOptions<S>
    ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
    (command: Resp.Command, options?: CallOptions): Effect.Effect<Resp.Reply, RedisError, Self>
  }
  /** See `Redis.pipeline`. */
  readonly pipeline: (
    commands: ReadonlyArray<Resp.Command>,
    options?: CallOptions
  ) => Effect.Effect<ReadonlyArray<PipelineReply>, RedisError, Self>
  /** See `Redis.status`. */
  readonly status: Effect.Effect<Status, never, Self>
  /** See `Redis.events`. */
  readonly events: Stream.Stream<StatusChange, never, Self>
}

/**
 * The layers of one tag of a service.
 *
 * @category models
 * @since 0.1.0
 */
export interface Layers<Self> {
  /** See `Redis.layer`. */
  readonly layer: (options?: RedisOptions.Input) => Layer.Layer<Self, RedisError>
  /** See `Redis.layerConfig`. */
  readonly layerConfig: (
    config?: Config.Wrap<RedisOptions.Options>
  ) => Layer.Layer<Self, RedisError | Config.ConfigError>
  /** See `Redis.layerNamed`. */
  readonly layerNamed: (name: Registry.Name<Service>) => Layer.Layer<Self, never, Registry.Registry>
}

const calls: Calls<RedisService> = api.makeCalls(RedisService)

/**
 * Sends one command and waits for its reply.
 *
 * The command is an array of its name and arguments (`string`, `number`, `bigint` or `Uint8Array`). Succeeds with the reply
 * (see `Resp.Reply` for its shapes), or, with the option `schema`, with the reply decoded by it. Fails with a `RedisError`:
 * `ReplyError` when the server answers an error, `TimeoutError`, `ConnectionError`, `RedisArgumentError` when the command
 * cannot be sent as it is, `DecodeError` and `ReplyLimitError` when the reply cannot be delivered.
 *
 * Interrupting it cancels it: what was not written never will be; the reply of what was is dropped.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Schema } from "effect"
 *
 * const text = Redis.command(["GET", "greeting"])
 * const bytes = Redis.command(["GET", "picture"], { decode: "bytes", timeout: "30 seconds" })
 * const count = Redis.command(["INCR", "visits"], { schema: Schema.Int })
 * ```
 *
 * @category calls
 * @since 0.1.0
 */
export const command: Calls<RedisService>["command"] = calls.command

/**
 * Sends several commands as one entry and waits for all replies, in order.
 *
 * They go out together and are answered in one go, but other callers' commands may run between them on the server: it
 * is not a transaction. A server's error, or a reply that cannot be delivered, is an *element* of the result; only a
 * failure of the connection or the deadline fails the pipeline, and `received` of that error says how many replies had come.
 * A pipeline of nothing but read-only commands is repeated like a read.
 *
 * @category calls
 * @since 0.1.0
 */
export const pipeline: Calls<RedisService>["pipeline"] = calls.pipeline

/**
 * What the connection is doing now: its state, how many commands are queued and in flight, the last failure.
 *
 * @category accessors
 * @since 0.1.0
 */
export const status: Calls<RedisService>["status"] = calls.status

/**
 * The changes of the connection's state from now on. A slow reader misses the oldest changes (64 are kept).
 *
 * @category accessors
 * @since 0.1.0
 */
export const events: Calls<RedisService>["events"] = calls.events

const layers: Layers<RedisService> = api.makeLayers(RedisService)

/**
 * A connection of its own as a layer: from a URL, a record of options (see `RedisOptions.Options`), or nothing, which is
 * `redis://127.0.0.1:6379`.
 *
 * Building it does not wait for the server unless `start: "await"` says so; then it fails with the error of the first
 * session. Releasing it closes the connection within `closeTimeout`. Share the layer value: each call of this function
 * makes another connection.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layers<RedisService>["layer"] = layers.layer

/**
 * Like `layer`, with options from `Config`: each option may be a `Config`, or the whole record.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Config } from "effect"
 *
 * const CacheLive = Redis.layerConfig({ host: Config.String("CACHE_HOST"), port: Config.Port("CACHE_PORT") })
 * ```
 *
 * Without an argument it reads `REDIS_URL`, or `REDIS_HOST`, `REDIS_PORT` and the other options' names in constant case.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layers<RedisService>["layerConfig"] = layers.layerConfig

/**
 * The connection that is registered under a name, as the service: for programs whose connection is a child of their own
 * supervisor.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNamed: Layers<RedisService>["layerNamed"] = layers.layerNamed

/**
 * The connection of an application: `Redis.layerConfig()` as a value to share. Reads `REDIS_URL`, or the options' names in
 * constant case under `REDIS_`; without any of them it is `redis://127.0.0.1:6379`.
 *
 * @category layers
 * @since 0.1.0
 */
export const RedisLive: Layer.Layer<RedisService, RedisError | Config.ConfigError> = layers.layerConfig()

/**
 * A typed name for a connection in a supervision tree.
 *
 * @category names
 * @since 0.1.0
 */
export const Name = (id: string): Registry.Name<Service> => Registry.name<Service>(id)

/**
 * The service behind a name. It is looked up at each call, so it follows restarts; while nothing is registered under the
 * name, calls wait within their deadline.
 *
 * @category names
 * @since 0.1.0
 */
export const named = (name: Registry.Name<Service>): Effect.Effect<Service, never, Registry.Registry> =>
  namedService(name)

/**
 * Options of `childSpec`: those of a connection, and those of a child.
 *
 * - `id`: of the child, unique among its siblings (default `"redis"`)
 * - `register`: the name under which others find it
 *
 * @category models
 * @since 0.1.0
 */
export type ChildSpecOptions = RedisOptions.Options & {
  readonly id?: string | undefined
  readonly register?: Registry.Name<Service> | undefined
  readonly restart?: ChildSpec.Restart | undefined
  readonly shutdown?: Duration.Input | "brutalKill" | "infinity" | undefined
}

/**
 * A connection as a child of your own supervisor: itself a supervisor, whose child is the session.
 *
 * The child starts at once and connects in the background; with `start: "await"` it has started when the first session
 * is ready, and fails to start with its error.
 *
 * @category supervision
 * @since 0.1.0
 */
export const childSpec = (
  options: ChildSpecOptions = {}
): ChildSpec.ChildSpec<Service, Registry.Registry> =>
  connectionTree.childSpec(options)

/**
 * Makes a tag for a separate instance, with its own calls and layers:
 *
 * ```ts
 * import { Redis } from "@relive/core"
 *
 * class Bulk extends Redis.Tag<Bulk>()("app/Bulk") {}
 *
 * const BulkLive = Bulk.layer({ host: "127.0.0.1", timeout: "1 minute" })
 * const program = Bulk.command(["PING"])
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export const Tag =
  <Self>() =>
  <const Id extends string>(id: Id): TagClass<Self, Id> =>
    api.makeTag<Self, Id>(id)

/**
 * What `Tag` makes: a service key that is also its calls and layers.
 *
 * @category models
 * @since 0.1.0
 */
export type TagClass<Self, Id extends string> = Context.ServiceClass<Self, Id, Service> & Calls<Self> & Layers<Self>

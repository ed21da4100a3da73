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
import type * as Config from "effect/Config"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { makeCalls } from "./internal/api/calls.ts"
import { makeLayers, makeTag } from "./internal/api/layers.ts"
import * as connectionTree from "./internal/service/tree.ts"
import { namedService } from "./internal/api/named.ts"
import { messagesOf } from "./internal/api/pubsub.ts"
import type { Any, BytesReplies, Command, Fits, Replies } from "./Command.ts"
import type { RedisError } from "./RedisError.ts"
import type * as RedisOptions from "./RedisOptions.ts"
import type * as RedisPubSub from "./RedisPubSub.ts"
import { RedisService } from "./RedisService.ts"
import type { CallOptions, LeaseOptions, Service, Status, StatusChange } from "./RedisService.ts"
import type * as Resp from "./Resp.ts"

export type {
  /**
   * The options of a call.
   *
   * @category models
   * @since 0.1.0
   */
  CallOptions,
  /**
   * The states of a connection.
   *
   * @category models
   * @since 0.1.0
   */
  ConnectionState,
  /**
   * An element of a pipeline's or transaction's result.
   *
   * @category models
   * @since 0.1.0
   */
  PipelineReply,
  /**
   * Further attempts of a call that failed.
   *
   * @category models
   * @since 0.1.0
   */
  RetryOptions,
  /**
   * The options of a lease.
   *
   * @category models
   * @since 0.1.0
   */
  LeaseOptions,
  /**
   * The interface of a provider of Redis.
   *
   * @category models
   * @since 0.1.0
   */
  Service,
  /**
   * The present state of a connection.
   *
   * @category models
   * @since 0.1.0
   */
  Status,
  /**
   * One change of a connection's state.
   *
   * @category models
   * @since 0.1.0
   */
  StatusChange
} from "./RedisService.ts"

/**
 * Options of a command whose reply is decoded by a schema: the reply is the encoded side. A map of the server becomes an object
 * or a `Map`, and a set an array or a `Set`, as the schema has it.
 *
 * @category models
 * @since 0.1.0
 */
export interface SchemaOptions<S extends Schema.Constraint> extends CallOptions {
  /** Decodes the reply, which is its encoded side. */
  readonly schema: S
}

/**
 * Options of a call whose strings come as text.
 *
 * @category models
 * @since 0.1.0
 */
export type TextOptions = CallOptions & { readonly decode?: "text" | undefined }

/**
 * Options of a call whose strings come as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type BytesOptions = CallOptions & { readonly decode: "bytes" }

/**
 * Options of `scan`, `hscan`, `sscan` and `zscan`: those of their commands, and those of every call (for each page).
 *
 * @category models
 * @since 0.1.0
 */
export interface ScanOptions extends CallOptions {
  /** A glob pattern: only what matches it. */
  readonly match?: string | Uint8Array | undefined
  /** The number of elements that the server looks at per page (default 10). */
  readonly count?: number | undefined
  /** Keys of this type only, such as `"hash"` (`scan` alone). */
  readonly type?: string | undefined
}

/**
 * A script: call it with its keys and arguments. `readOnly` runs it by `EVALSHA_RO`, which the server holds to it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Script<Self> {
  /** Runs the script with its `KEYS` and `ARGV`, and gives what it returns. */
  (
    keys?: ReadonlyArray<Resp.Argument>,
    args?: ReadonlyArray<Resp.Argument>,
    options?: ScriptOptions
  ): Effect.Effect<Resp.Reply, RedisError, Self>
}

/**
 * Options of a script's call.
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptOptions extends CallOptions {
  /** Runs it by `EVALSHA_RO`: the server refuses what would change anything. */
  readonly readOnly?: boolean | undefined
}

/**
 * The parameters and the result of a script.
 *
 * - `keys`: the names of its keys, in the order in which it uses them
 * - `arguments`: a schema of its arguments as you want to give them, encoded to `ARGV`
 * - `reply`: a schema that decodes its reply as it came
 *
 * @category models
 * @since 0.1.0
 */
export interface ScriptTypes<Names extends ReadonlyArray<string>, Args extends ReadonlyArray<unknown>, A, Encoded> {
  /** The names of its keys, in the order in which it uses them. */
  readonly keys: Names
  /** A schema of its arguments as you want to give them, encoded to `ARGV`. */
  readonly arguments: Schema.Codec<Args, ReadonlyArray<Resp.Argument>>
  /** A schema that decodes its reply as it came. */
  readonly reply: Schema.Codec<A, Encoded>
}

/**
 * A script whose keys have names, and whose arguments and reply have types. Arguments that do not fit fail as
 * `RedisArgumentError`, and nothing is sent; a reply that does not fit is a `DecodeError`, and the script has run.
 *
 * @category models
 * @since 0.1.0
 */
export interface TypedScript<Self, Names extends ReadonlyArray<string>, Args extends ReadonlyArray<unknown>, A> {
  /** Runs the script with its keys by their names and its arguments, and gives what it returns. */
  (
    keys: { readonly [N in Names[number]]: string | Uint8Array },
    args: Args,
    options?: ScriptOptions & { readonly decode?: "text" | undefined }
  ): Effect.Effect<A, RedisError, Self>
}

/**
 * Options of a subscription whose payloads are decoded by a schema: the payload as it came is the encoded side. A message
 * that does not fit fails the stream with a `DecodeError`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SubscribeSchemaOptions<S extends Schema.Constraint> extends RedisPubSub.SubscribeOptions {
  /** Decodes each payload, which is its encoded side. */
  readonly schema: S
}

/**
 * Subscribes to one name or several: see `Redis.subscribe`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subscribe<Self> {
  /** Subscribes to one name or several: a `Stream` of events whose payloads are bytes, decoded by `schema`. */
  <S extends Schema.Constraint>(
    names: RedisPubSub.Name | ReadonlyArray<RedisPubSub.Name>,
    options: SubscribeSchemaOptions<S> & { readonly decode: "bytes" }
  ): Stream.Stream<RedisPubSub.Event<S["Type"], RedisPubSub.Name>, RedisError, Self | S["DecodingServices"]>
  /** Subscribes to one name or several: a `Stream` of events whose payloads are decoded by `schema`. */
  <S extends Schema.Constraint>(
    names: RedisPubSub.Name | ReadonlyArray<RedisPubSub.Name>,
    options: SubscribeSchemaOptions<S>
  ): Stream.Stream<RedisPubSub.Event<S["Type"]>, RedisError, Self | S["DecodingServices"]>
  /** Subscribes to one name or several: a `Stream` of events whose payloads are bytes. */
  (
    names: RedisPubSub.Name | ReadonlyArray<RedisPubSub.Name>,
    options: RedisPubSub.SubscribeOptions & { readonly decode: "bytes" }
  ): Stream.Stream<RedisPubSub.Event<Uint8Array, RedisPubSub.Name>, RedisError, Self>
  /**
   * Subscribes to one name or several: a `Stream` of events. `Subscribed` comes first, then every message, or a `Gap` where some may
   * be missing. Ending it unsubscribes.
   */
  (
    names: RedisPubSub.Name | ReadonlyArray<RedisPubSub.Name>,
    options?: RedisPubSub.SubscribeOptions
  ): Stream.Stream<RedisPubSub.Event, RedisError, Self>
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
    /**
     * Sends one command, an array of its name and arguments, and waits for its reply, decoded by `schema`. The reply is the
     * encoded side; `null`, as for a key that is not there, needs `Schema.NullOr`. What does not fit is a `DecodeError`, and
     * the command has run.
     */
    <S extends Schema.Constraint>(
      command: Resp.Command,
      options: SchemaOptions<S>
    ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
    /**
     * Sends one command, an array of its name and arguments (`string`, `number`, `bigint` or `Uint8Array`), and waits for its
     * reply.
     *
     * Fails with a `RedisError`, by reason: `ReplyError` when the server replies with an error, `TimeoutError`, `ConnectionError`
     * (whose `delivery` says whether it may have run), `RedisArgumentError` when it cannot be sent as it is, `DecodeError` and
     * `ReplyLimitError` when the reply cannot be delivered. Interrupting it cancels it.
     */
    (command: Resp.Command, options?: CallOptions): Effect.Effect<Resp.Reply, RedisError, Self>
    // The last overload is the one that errors are told of.
    /** Sends a typed command (of `@relive/commands`) and decodes what it means by `schema`. */
    <A, B, S extends Schema.Constraint>(
      command: Command<A, B>,
      options: TextOptions & { readonly schema: Fits<S, A> }
    ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
    /** Sends a typed command (of `@relive/commands`) and gives what it means, as bytes decoded by a schema. */
    <A, B, S extends Schema.Constraint>(
      command: Command<A, B>,
      options: BytesOptions & { readonly schema: Fits<S, B> }
    ): Effect.Effect<S["Type"], RedisError, Self | S["DecodingServices"]>
    /** Sends a typed command (of `@relive/commands`) and gives what it means, with its strings as `Uint8Array`. */
    <A, B>(
      command: Command<A, B>,
      options: BytesOptions & { readonly schema?: undefined }
    ): Effect.Effect<B, RedisError, Self>
    /** Sends a typed command (of `@relive/commands`) and gives what it means. */
    <A, B>(
      command: Command<A, B>,
      options?: TextOptions & { readonly schema?: undefined }
    ): Effect.Effect<A, RedisError, Self>
  }
  /** See `Redis.pipeline`. */
  readonly pipeline: {
    /** Sends several commands as one entry and waits for all replies, in order, with their strings as `Uint8Array`. */
    <const Cs extends ReadonlyArray<Any>>(
      commands: Cs,
      options: BytesOptions
    ): Effect.Effect<BytesReplies<Cs>, RedisError, Self>
    /**
     * Sends several commands as one entry and waits for all replies, in order. It is no transaction. An error of the server is an
     * *element* of the result; only a failure of the connection fails it.
     */
    <const Cs extends ReadonlyArray<Any>>(
      commands: Cs,
      options?: CallOptions
    ): Effect.Effect<Replies<Cs>, RedisError, Self>
  }
  /** See `Redis.transaction`. */
  readonly transaction: {
    /** Runs the commands as one transaction and gives the elements of `EXEC`'s reply, with their strings as `Uint8Array`. */
    <const Cs extends ReadonlyArray<Any>>(
      commands: Cs,
      options: BytesOptions
    ): Effect.Effect<BytesReplies<Cs>, RedisError, Self>
    /**
     * Runs the commands as one transaction (`MULTI`, the commands, `EXEC`), never interleaved with other calls and never
     * repeated. Gives the elements of `EXEC`'s reply. Fails with `TransactionAborted` when the server refused to queue one:
     * then nothing ran.
     */
    <const Cs extends ReadonlyArray<Any>>(
      commands: Cs,
      options?: CallOptions
    ): Effect.Effect<Replies<Cs>, RedisError, Self>
  }
  /** See `Redis.noreply`. */
  readonly noreply: {
    /** Sends commands whose replies are not sent, as one entry. Succeeds when the server has read them all. */
    (commands: ReadonlyArray<Any>, options?: CallOptions): Effect.Effect<void, RedisError, Self>
  }
  /** See `Redis.lease`. */
  readonly lease: Effect.Effect<Service, RedisError, Self | Scope.Scope>
  /** See `Redis.leaseWith`. */
  readonly leaseWith: {
    /** A connection that nobody else uses, as a service, until the scope closes. It never reconnects. */
    (options: LeaseOptions): Effect.Effect<Service, RedisError, Self | Scope.Scope>
  }
  /** See `Redis.watch`. */
  readonly watch: {
    /**
     * An optimistic transaction: watches the keys, runs `body`, and runs the commands that it returns as a transaction, which does
     * nothing if a watched key has changed meanwhile. Then it starts over, by the `schedule`, and fails with `WatchConflict` at
     * last.
     */
    <const Cs extends ReadonlyArray<Any>, E, R>(
      keys: ReadonlyArray<Resp.Argument>,
      body: Effect.Effect<Cs, E, R>,
      options?: { readonly schedule?: Schedule.Schedule<unknown, E | RedisError> | undefined }
    ): Effect.Effect<Replies<Cs>, E | RedisError, Self | Exclude<R, Self>>
  }
  /** See `Redis.script`. */
  readonly script: {
    /** A Lua script whose keys have names, and whose arguments and reply have types. */
    <const Names extends ReadonlyArray<string>, const Args extends ReadonlyArray<unknown>, A, Encoded>(
      lua: string,
      types: ScriptTypes<Names, Args, A, Encoded>
    ): TypedScript<Self, Names, Args, A>
    /** A Lua script, to be called with its keys and arguments. It is sent by its digest, in full where the server does not know it. */
    (lua: string): Script<Self>
  }
  /** See `Redis.scan`. */
  readonly scan: {
    /** All keys of the database as bytes, page by page. What is there all the while comes at least once. */
    (options: ScanOptions & { readonly decode: "bytes" }): Stream.Stream<Uint8Array, RedisError, Self>
    /** All keys of the database, page by page. What is there all the while comes at least once, and may come twice. */
    (options?: ScanOptions): Stream.Stream<string, RedisError, Self>
  }
  /** See `Redis.hscan`. */
  readonly hscan: {
    /** The fields and values of a hash as bytes, page by page. What is there all the while comes at least once. */
    (
      key: string | Uint8Array,
      options: ScanOptions & { readonly decode: "bytes" }
    ): Stream.Stream<readonly [field: Uint8Array, value: Uint8Array], RedisError, Self>
    /** The fields and values of a hash, page by page. What is there all the while comes at least once. */
    (
      key: string | Uint8Array,
      options?: ScanOptions
    ): Stream.Stream<readonly [field: string, value: string], RedisError, Self>
  }
  /** See `Redis.sscan`. */
  readonly sscan: {
    /** The members of a set as bytes, page by page. What is there all the while comes at least once. */
    (
      key: string | Uint8Array,
      options: ScanOptions & { readonly decode: "bytes" }
    ): Stream.Stream<Uint8Array, RedisError, Self>
    /** The members of a set, page by page. What is there all the while comes at least once. */
    (key: string | Uint8Array, options?: ScanOptions): Stream.Stream<string, RedisError, Self>
  }
  /** See `Redis.zscan`. */
  readonly zscan: {
    /** The members of a sorted set as bytes, and their scores, page by page. */
    (
      key: string | Uint8Array,
      options: ScanOptions & { readonly decode: "bytes" }
    ): Stream.Stream<readonly [member: Uint8Array, score: number], RedisError, Self>
    /** The members and scores of a sorted set, page by page. What is there all the while comes at least once. */
    (
      key: string | Uint8Array,
      options?: ScanOptions
    ): Stream.Stream<readonly [member: string, score: number], RedisError, Self>
  }
  /** See `Redis.subscribe`. */
  readonly subscribe: Subscribe<Self>
  /** See `Redis.psubscribe`. */
  readonly psubscribe: Subscribe<Self>
  /** See `Redis.ssubscribe`. */
  readonly ssubscribe: Subscribe<Self>
  /** See `Redis.keyspace`. */
  readonly keyspace: {
    (
      options: RedisPubSub.KeyspaceOptions & { readonly decode: "bytes" }
    ): Stream.Stream<RedisPubSub.KeyspaceEvent<Uint8Array>, RedisError, Self>
    (options?: RedisPubSub.KeyspaceOptions): Stream.Stream<RedisPubSub.KeyspaceEvent, RedisError, Self>
  }
  /** See `Redis.publish`. */
  readonly publish: {
    /** Publishes a message. Succeeds with the number of subscribers that this server has sent it to. */
    (channel: RedisPubSub.Name, message: Resp.Argument, options?: CallOptions): Effect.Effect<number, RedisError, Self>
  }
  /** See `Redis.spublish`. */
  readonly spublish: {
    /** Publishes a message on a sharded channel. Succeeds with the number of subscribers that it was sent to. */
    (channel: RedisPubSub.Name, message: Resp.Argument, options?: CallOptions): Effect.Effect<number, RedisError, Self>
  }
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
  readonly layer: {
    /** A connection of its own as a layer, with these options; without any it is `redis://127.0.0.1:6379`. Share the value. */
    (options?: RedisOptions.Options): Layer.Layer<Self, RedisError>
    /** A connection of its own as a layer, from a URL: `redis://user:password@host:6379/0?timeout=2s`. Share the value. */
    (url: string | URL | Redacted.Redacted<string>): Layer.Layer<Self, RedisError>
    /** A connection of its own as a layer, from a URL or options. Share the value. */
    (input: RedisOptions.Input): Layer.Layer<Self, RedisError>
  }
  /** See `Redis.layerConfig`. */
  readonly layerConfig: {
    /** The same with options from `Config`: each may be a `Config`, or the whole record. Without any it is what `RedisLive` reads. */
    (config?: Config.Wrap<RedisOptions.Options>): Layer.Layer<Self, RedisError | Config.ConfigError>
  }
  /** See `Redis.layerNamed`. */
  readonly layerNamed: {
    /** The connection that is registered under a name, in the tree of a supervisor. */
    (name: Registry.Name<Service>): Layer.Layer<Self, never, Registry.Registry>
  }
}

const calls: Calls<RedisService> = makeCalls(RedisService)

/**
 * Sends one command and waits for its reply.
 *
 * The command is one of `@relive/commands` (or another `Command`), which knows what its reply means; or an array of its name
 * and arguments (`string`, `number`, `bigint` or `Uint8Array`). Succeeds with the reply (see `Resp.Reply` for the shapes of
 * one of an array), or, with the option `schema`, with the reply decoded by it. Fails with a `RedisError`:
 * `ReplyError` when the server replies with an error, `TimeoutError`, `ConnectionError`, `RedisArgumentError` when the command
 * cannot be sent as it is, `DecodeError` and `ReplyLimitError` when the reply cannot be delivered. A reply that does not fit
 * the schema is a `DecodeError` too, and the command has run; `null`, as for a key that is not there, needs `Schema.NullOr`.
 *
 * A `Uint8Array` of more than 16 KiB is taken as it is, not copied: leave it alone until the call is over. What is changed before
 * is what is sent; when its buffer is transferred or shrunk before, the call fails with a `RedisArgumentError`.
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
 * Typed commands and arrays mix; each typed one gives what it means, so a literal array gives a tuple:
 *
 * ```ts
 * import { Commands } from "@relive/commands"
 * import { Redis } from "@relive/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const [name, visits] = yield* Redis.pipeline([Commands.get("name"), Commands.incr("visits")])
 *   return { name, visits } // string | null, and number; or why there is none
 * })
 * ```
 *
 * They go out together and their replies come in one go, but other callers' commands may run between them on the server: it
 * is not a transaction. A server's error, or a reply that cannot be delivered, is an *element* of the result; only a
 * failure of the connection or the deadline fails the pipeline, and `received` of that error says how many replies had come.
 * A pipeline of nothing but read-only commands is repeated like a read.
 *
 * One of more than 16 384 commands is encoded over several turns of the event loop, so that the rest of the program goes on:
 * calls that are made meanwhile go before it, and its commands must not be changed until then. The same holds for
 * `transaction` and `noreply`.
 *
 * @category calls
 * @since 0.1.0
 */
export const pipeline: Calls<RedisService>["pipeline"] = calls.pipeline

/**
 * Runs the commands as one transaction (`MULTI`, the commands, `EXEC`), written in one go and never interleaved with other
 * calls. Succeeds with the elements of EXEC's reply, where an error of a command that failed while it ran is an element.
 *
 * Fails with `TransactionAborted` when the server refused to queue a command: then nothing ran. When the server refused
 * `MULTI` itself the commands ran one by one: that is a `ReplyError` with `delivery: "unknown"` and the `replies`. A
 * transaction is never repeated. For one that depends on what it reads, see `watch`.
 *
 * @category calls
 * @since 0.1.0
 */
export const transaction: Calls<RedisService>["transaction"] = calls.transaction

/**
 * Sends commands without having their replies sent (`CLIENT REPLY OFF`, the commands, `CLIENT REPLY ON`), as one entry:
 * for loading much data whose results do not matter, since the errors of the commands are not seen either. Succeeds when the
 * server has read them all. Where the server refuses `CLIENT REPLY` the commands have run with replies: that is a
 * `ReplyError` with `delivery: "unknown"` and the `replies`.
 *
 * @category calls
 * @since 0.1.0
 */
export const noreply: Calls<RedisService>["noreply"] = calls.noreply

/**
 * A connection that nobody else uses, as a service, until the scope closes: for what is state of a connection (`SELECT`,
 * `MULTI` by hand, `CLIENT TRACKING`, `WAIT`). Commands that block need none: they get one by themselves.
 *
 * At most `leases` are out at a time; further callers wait, in order, for the connection's `timeout` at most
 * (`LeaseTimeout`). It never reconnects: its state died with its socket, so later calls fail with kind `closed`.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Effect } from "effect"
 *
 * const acknowledgedByOne = Effect.scoped(
 *   Effect.gen(function* () {
 *     const lease = yield* Redis.lease
 *     yield* lease.command(["SET", "k", "v"])
 *     return yield* lease.command(["WAIT", 1, 1000])
 *   })
 * )
 * ```
 *
 * @category calls
 * @since 0.1.0
 */
export const lease: Calls<RedisService>["lease"] = calls.lease

/**
 * A lease as `Redis.lease` gives it, with a say in how long to wait for it (`timeout`), and in a cluster on which node it is:
 * that of the key `route`.
 *
 * @category calls
 * @since 0.1.0
 */
export const leaseWith: Calls<RedisService>["leaseWith"] = calls.leaseWith

/**
 * An optimistic transaction: watches the keys, runs `body`, which reads and returns the commands to run, and runs those as a
 * transaction that does nothing if a watched key has changed meanwhile. On such a conflict it starts over, by the
 * `schedule` (default: 20 times, with a growing pause with jitter), and then fails with `WatchConflict`.
 *
 * It happens on a leased connection, and inside of `body` that is the service. Without commands nothing is run.
 *
 * Each attempt opens a connection, since one that has watched is not used again, and takes one of the connection's `leases`.
 * Where everybody wants the same keys a `script` costs less. When the connection breaks at `EXEC` nobody knows whether the
 * transaction ran, and it is not repeated: let it write a mark that `body` looks for, and it may be called again.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Effect, Schema } from "effect"
 *
 * const double = Redis.watch(
 *   ["n"],
 *   Effect.map(Redis.command(["GET", "n"], { schema: Schema.FiniteFromString }), (n) => [["SET", "n", n * 2]])
 * )
 * ```
 *
 * @category calls
 * @since 0.1.0
 */
export const watch: Calls<RedisService>["watch"] = calls.watch

/**
 * A Lua script, sent by its digest (`EVALSHA`), and in full the first time that the server does not know it.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 *
 * const unlock = Redis.script('if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0')
 * const program = unlock(["lock"], ["my-token"])
 * ```
 *
 * With schemas its keys have names, and its arguments and reply types:
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Schema } from "effect"
 *
 * const spend = Redis.script(
 *   `local left = redis.call("DECRBY", KEYS[1], ARGV[1])
 *    if left < 0 then redis.call("INCRBY", KEYS[1], ARGV[1]) return false end
 *    redis.call("RPUSH", KEYS[2], ARGV[1])
 *    return left`,
 *   {
 *     keys: ["balance", "ledger"],
 *     arguments: Schema.Tuple([Schema.Int]),
 *     reply: Schema.NullOr(Schema.Int)
 *   }
 * )
 * const program = spend({ balance: "balance:1", ledger: "ledger:1" }, [25]) // number | null
 * ```
 *
 * @category calls
 * @since 0.1.0
 */
export const script: Calls<RedisService>["script"] = calls.script

/**
 * All keys of the database, page by page (`SCAN`). What is there all the while comes at least once, and may come twice.
 *
 * @category streams
 * @since 0.1.0
 */
export const scan: Calls<RedisService>["scan"] = calls.scan

/**
 * The fields and values of a hash, page by page (`HSCAN`). What is there all the while comes at least once.
 *
 * @category streams
 * @since 0.1.0
 */
export const hscan: Calls<RedisService>["hscan"] = calls.hscan

/**
 * The members of a set, page by page (`SSCAN`). What is there all the while comes at least once.
 *
 * @category streams
 * @since 0.1.0
 */
export const sscan: Calls<RedisService>["sscan"] = calls.sscan

/**
 * The members and scores of a sorted set, page by page (`ZSCAN`). What is there all the while comes at least once.
 *
 * @category streams
 * @since 0.1.0
 */
export const zscan: Calls<RedisService>["zscan"] = calls.zscan

/**
 * Subscribes to channels: a stream of events. `Subscribed` comes first: every message that is published on the channels from
 * then on comes as a `Message`, in order, or a `Gap` says that some may be missing; `Resubscribed` that it is whole again.
 *
 * Ending or interrupting the stream unsubscribes. `Subscribed` must come within the option `timeout` (by default that of the
 * connection), else the stream fails with `TimeoutError`; from then on it waits while the server is away, and
 * survives any number of failed dials. It also fails when the server refuses a channel (`ReplyError`), when it refuses the
 * connection before `Subscribed`, when a message cannot be decoded (`DecodeError`), and with kind `shutdown` when the service closes.
 *
 * Messages wait in a buffer of the subscription's own (1024 messages, 8 MiB): a slow subscriber holds up nobody. What happens
 * when it is full says the option `whenFull`, see `RedisPubSub.SubscribeOptions`.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Effect, Stream } from "effect"
 *
 * const program = Redis.subscribe(["news", "weather"]).pipe(
 *   Stream.runForEach((event) => {
 *     switch (event._tag) {
 *       case "Message":
 *         return Effect.log(`${event.channel}: ${event.payload}`)
 *       case "Gap":
 *         return Effect.logWarning(`messages since ${new Date(event.since).toISOString()} may be missing`)
 *       default:
 *         return Effect.void
 *     }
 *   })
 * )
 * ```
 *
 * @category pub/sub
 * @since 0.1.0
 */
export const subscribe: Calls<RedisService>["subscribe"] = calls.subscribe

/**
 * Subscribes to patterns, as `subscribe` does to channels. A pattern is a glob (`news.*`, `h?llo`, `h[ae]llo`). A message
 * that several patterns match comes once for each.
 *
 * @category pub/sub
 * @since 0.1.0
 */
export const psubscribe: Calls<RedisService>["psubscribe"] = calls.psubscribe

/**
 * Subscribes to sharded channels (Redis 7), as `subscribe` does to channels. They are apart from the others: what is
 * published by `spublish` comes here, and nothing else.
 *
 * @category pub/sub
 * @since 0.1.0
 */
export const ssubscribe: Calls<RedisService>["ssubscribe"] = calls.ssubscribe

/**
 * Keyspace notifications: the changes of keys as the server tells them, as a stream of `KeyEvent`s, with `Subscribed`, `Gap` and
 * `Resubscribed` as for every subscription. A server tells a change once, to those that are subscribed then: after a `Gap` read
 * the keys again.
 *
 * The server must be set up for it (`notify-keyspace-events`). It is asked first, and again after each loss, and the stream
 * fails with a `RedisArgumentError` that names the flags that are missing.
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Effect, Stream } from "effect"
 *
 * const program = Redis.keyspace({ keys: "session:*", events: ["expired", "del"] }).pipe(
 *   Stream.runForEach((event) =>
 *     event._tag === "KeyEvent" ? Effect.log(`${event.key} in ${event.database}: ${event.event}`) : Effect.void
 *   )
 * )
 * ```
 *
 * @category pub/sub
 * @since 0.1.0
 */
export const keyspace: Calls<RedisService>["keyspace"] = calls.keyspace

/**
 * Publishes a message. Succeeds with the number of subscribers that this server has sent it to. It is a command like any
 * other: at most once unless the option `retry` says more.
 *
 * @category pub/sub
 * @since 0.1.0
 */
export const publish: Calls<RedisService>["publish"] = calls.publish

/**
 * Publishes a message on a sharded channel (Redis 7). Succeeds with the number of subscribers that it was sent to.
 *
 * @category pub/sub
 * @since 0.1.0
 */
export const spublish: Calls<RedisService>["spublish"] = calls.spublish

/**
 * The messages of a subscription alone, where nobody minds a gap:
 *
 * ```ts
 * import { Redis } from "@relive/core"
 * import { Effect, Stream } from "effect"
 *
 * const program = Redis.messages(Redis.subscribe("news")).pipe(
 *   Stream.runForEach(({ payload }) => Effect.log(payload))
 * )
 * ```
 *
 * @category pub/sub
 * @since 0.1.0
 */
export const messages = <Payload, Channel, E, R>(
  events: Stream.Stream<RedisPubSub.Event<Payload, Channel>, E, R>
): Stream.Stream<RedisPubSub.Message<Payload, Channel>, E, R> => messagesOf(events)

/**
 * The present status of the connection: its state, how many commands are queued and in flight, the last failure.
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

const layers: Layers<RedisService> = makeLayers(RedisService)

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

export {
  /**
   * Turns spans and metrics on. Both are off by default. See the module `Telemetry`.
   *
   * @category references
   * @since 0.1.0
   */
  Telemetry
} from "./Telemetry.ts"

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
 * - `exitOnDisconnection`: the end of a session, a failed dial included, ends the connection, with its error as the reason, and
 *   your supervisor decides what is next: a `transient` child is restarted, too. No backoff and no mailbox bridges it then
 *   (default `false`)
 *
 * @category models
 * @since 0.1.0
 */
export type ChildSpecOptions = RedisOptions.Options & {
  readonly exitOnDisconnection?: boolean | undefined
  readonly id?: string | undefined
  readonly register?: Registry.Name<Service> | undefined
  readonly restart?: ChildSpec.Restart | undefined
  readonly shutdown?: Duration.Input | "brutalKill" | "infinity" | undefined
}

/**
 * A connection as a child of your own supervisor: itself a supervisor, over the session and what serves it.
 *
 * The child starts at once and connects in the background; with `start: "await"` it has started when the first session
 * is ready, and fails to start with its error.
 *
 * @category supervision
 * @since 0.1.0
 */
export const childSpec = (options: ChildSpecOptions = {}): ChildSpec.ChildSpec<Service, Registry.Registry> =>
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
    makeTag<Self, Id>(id)

/**
 * The result of `Tag`: a service key that is also its calls and layers.
 *
 * @category models
 * @since 0.1.0
 */
export type TagClass<Self, Id extends string> = Context.ServiceClass<Self, Id, Service> & Calls<Self> & Layers<Self>

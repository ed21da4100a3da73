/**
 * Relive for code that is written with Promises: Express middleware, session stores, caches, whatever wants a "Redis client".
 *
 * ```ts
 * import { Promises, RedisLive } from "@relive/core"
 *
 * const redis = Promises.fromLayer(RedisLive)
 * const increment = async () => Number(await redis.sendCommand(["INCR", "visits"]))
 * // at the end of the process: await redis.close()
 * ```
 *
 * Replies have node-redis's shapes whatever the protocol (see `PlainReply`). A call fails with a `RedisError`, whose message is
 * the server's when it is the server that refused.
 *
 * It is a part of core, since it needs nothing but a service, and its users have no use for more packages. In a program
 * of Effects use `Redis` instead: what is a Promise cannot be cancelled by its fiber.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { RedisService } from "./RedisService.ts"
import type { Service } from "./RedisService.ts"
import type * as Resp from "./Resp.ts"
import * as promises from "./internal/api/promises.ts"

/**
 * The options of a call: `timeout` is its deadline (default: the connection's), an abort of `signal` cancels it.
 *
 * What was not sent when it is aborted never will be; the reply of what was is dropped. A blocking command takes nothing
 * from the server then.
 *
 * @category models
 * @since 0.1.0
 */
export interface SendOptions {
  readonly timeout?: Duration.Input | "infinite" | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * How a key is set: the spellings of node-redis 5 and 6, and the older flat one.
 *
 * @category models
 * @since 0.1.0
 */
export interface SetOptions {
  readonly expiration?:
    | { readonly type: "EX" | "PX" | "EXAT" | "PXAT"; readonly value: number }
    | { readonly type: "KEEPTTL" }
    | "KEEPTTL"
    | undefined
  readonly condition?: "NX" | "XX" | undefined
  readonly GET?: boolean | undefined
  readonly EX?: number | undefined
  readonly PX?: number | undefined
  readonly NX?: boolean | undefined
  readonly XX?: boolean | undefined
  readonly KEEPTTL?: boolean | undefined
}

/**
 * A client on Promises.
 *
 * `sendCommand` takes any command, as one array or word by word; what it returns is for the caller to say, as no type
 * knows all commands. The other methods are those that adapters of the ecosystem call, spelt as node-redis spells them.
 * All of them may be taken off the object.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client {
  readonly sendCommand: {
    <A = unknown>(command: ReadonlyArray<Resp.Argument>, options?: SendOptions): Promise<A>
    <A = unknown>(...command: ReadonlyArray<Resp.Argument>): Promise<A>
  }
  readonly ping: () => Promise<string>
  readonly get: (key: string) => Promise<string | null>
  readonly set: (key: string, value: string | number, options?: SetOptions) => Promise<string | null>
  readonly mGet: (keys: ReadonlyArray<string>) => Promise<Array<string | null>>
  readonly del: (keys: string | ReadonlyArray<string>) => Promise<number>
  readonly unlink: (keys: string | ReadonlyArray<string>) => Promise<number>
  readonly exists: (keys: string | ReadonlyArray<string>) => Promise<number>
  readonly incr: (key: string) => Promise<number>
  readonly decr: (key: string) => Promise<number>
  readonly expire: (key: string, seconds: number) => Promise<number>
  readonly pExpire: (key: string, milliseconds: number) => Promise<number>
  readonly ttl: (key: string) => Promise<number>
  readonly hGet: (key: string, field: string) => Promise<string | null>
  readonly hGetAll: (key: string) => Promise<Record<string, string>>
  readonly hSet: (key: string, field: string, value: string | number) => Promise<number>
  readonly hDel: (key: string, fields: string | ReadonlyArray<string>) => Promise<number>
  /** The keys, a page at a time, as node-redis gives them from version 5 on. */
  readonly scanIterator: (options?: {
    readonly MATCH?: string | undefined
    readonly COUNT?: number | undefined
    readonly TYPE?: string | undefined
  }) => AsyncIterableIterator<Array<string>>
  /** Closes the connection if the client made it; later calls fail with kind `shutdown`. Again does no harm. */
  readonly close: () => Promise<void>
}

/**
 * A client over a service that runs already: of a `ManagedRuntime`, or taken in an Effect. The maker of the service closes it:
 * `close` only ends the use of this client.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromService = (service: Service): Client =>
  promises.make(
    () => service,
    () => Promise.resolve()
  )

/**
 * A client of its own over a layer, which is built at once and stays until `close`. Calls that are made meanwhile wait for it. When
 * it cannot be built, every call fails with the layer's error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromLayer = <E>(layer: Layer.Layer<RedisService, E>): Client => fromLayerOf(RedisService, layer)

/**
 * The same for an instance of your own (`Redis.Tag`).
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromLayerOf = <Self, E>(tag: Context.Key<Self, Service>, layer: Layer.Layer<Self, E>): Client => {
  const runtime = ManagedRuntime.make(layer)
  const built = runtime.runPromise(
    Effect.contextWith((context: Context.Context<Self>) => Effect.succeed(Context.get(context, tag)))
  )
  let service: Service | undefined
  // Each caller is told; there may be none.
  built.then(
    (made) => (service = made),
    () => undefined
  )
  return promises.make(
    () => service ?? built,
    () => runtime.dispose()
  )
}

/**
 * Effect's own persistence modules on Relive: `PersistedQueue`, `Persistence` and `PersistedCache`, `RateLimiter`, `CircuitBreaker`,
 * `DurableQueue`, and everything else that asks for `effect/persistence/Redis`.
 *
 * One layer turns a `RedisService` into that service:
 *
 * ```ts
 * import { RedisLive } from "@relive/core"
 * import { RedisPersistence } from "@relive/persistence"
 * import { Effect, Layer } from "effect"
 * import { RateLimiter } from "effect/persistence"
 *
 * const LimiterLive = RateLimiter.layer.pipe(
 *   Layer.provide(RateLimiter.layerStoreRedis()),
 *   Layer.provide(RedisPersistence.layer),
 *   Layer.provide(RedisLive)
 * )
 *
 * const allowed = Effect.flatMap(RateLimiter.RateLimiter, (limiter) =>
 *   limiter.consume({ key: "ada", limit: 100, window: "1 minute" })
 * ).pipe(Effect.provide(LimiterLive))
 * ```
 *
 * It works with every provider (one connection, a pool, Sentinel, a cluster), and shares its connection with the rest of the
 * program. In contrast to `@effect/platform-node`'s NodeRedis, every call has a deadline, a command that blocks holds up
 * nobody else and takes nothing when it is interrupted, and replies are the same over RESP2 and RESP3.
 *
 * There are two classes whose tag is `"RedisError"`: Relive's, and Effect's, which has a `cause` and nothing else. Here the cause is
 * Relive's whole error; `findError` finds it in whatever the modules above made of it.
 *
 * @since 0.1.0
 */
import { isRedisError } from "@relive/core/RedisError"
import type { RedisError } from "@relive/core/RedisError"
import { RedisLive } from "@relive/core/Redis"
import { RedisService } from "@relive/core/RedisService"
import type { Service } from "@relive/core/RedisService"
import type * as Config from "effect/Config"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Persistence from "effect/persistence/Persistence"
import * as Redis from "effect/persistence/Redis"
import * as Predicate from "effect/Predicate"
import * as adapter from "./internal/adapter.ts"
import * as backing from "./internal/backing.ts"

/**
 * Options of the service.
 *
 * - `timeout`: the deadline of its calls (default: the connection's, 5 s). What stands before a web page, such as a limiter,
 *   wants a short one. Commands that block have the deadline of their own timeout
 * - `pool`: bounds for `reserve`, which takes a lease of the connection: `maxConnections` at a time (default: the connection's
 *   `leases`), each waiting `acquireTimeout` at most (default: the connection's `timeout`). The other two of Effect's
 *   pool options have no meaning here: idle leases are kept for the connection's `leaseIdle`
 *
 * There is no prefix for all keys: some of the scripts of Effect's modules make keys themselves, out of reach of a prefix that
 * is put before those they are given. Each of the modules has one of its own (`prefix`, or the id of a store).
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly timeout?: Duration.Input | "infinite" | undefined
  readonly pool?: Pick<Redis.PoolOptions, "maxConnections" | "acquireTimeout"> | undefined
}

/**
 * Effect's Redis over a service at hand.
 *
 * - `send`: the words as they are, in any case; replies in node-redis's shapes (see `PlainReply` of `@relive/core`). A command
 *   that blocks runs on a connection of its own. What `Redis.command` refuses is refused here, too
 * - `eval`: by the script's digest, and in full where the server does not know it. Never repeated when it may have run
 * - `reserve`: a lease. Closed instead of reused when something is in flight on it, or its state was changed
 * - `subscribe`: all channels on one socket, with the rest of the program's. It returns when the server has confirmed the channel.
 *   When the connection is lost it is subscribed again, and what was published meanwhile is missed; a reader that is slower than
 *   the messages misses the oldest. Its queue fails when the server refuses, or is not there within the `timeout`
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (service: Service, options?: Options) => Redis.Redis["Service"] = (service, options = {}) =>
  adapter.make(service, options)

/**
 * Effect's Redis, over the service that another layer provides: `Redis.layer(…)` of `@relive/core`, a pool, a cluster.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Redis.Redis, never, RedisService> = Layer.effect(
  Redis.Redis,
  Effect.map(RedisService, (service) => make(service))
)

/**
 * The same with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<Redis.Redis, never, RedisService> =>
  layerOf(RedisService, options)

/**
 * The same over an instance of your own (`Redis.Tag`): for queues on another server than the cache.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOf = <Self>(
  tag: Context.Key<Self, Service>,
  options?: Options
): Layer.Layer<Redis.Redis, never, Self> =>
  Layer.effect(
    Redis.Redis,
    Effect.map(Effect.service(tag), (service) => make(service, options))
  )

/**
 * `layer` over `RedisLive`, which it provides as well: one import for a program that reads its server from `REDIS_URL`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerLive: Layer.Layer<Redis.Redis | RedisService, RedisError | Config.ConfigError> = Layer.provideMerge(
  layer,
  RedisLive
)

/**
 * A store for `Persistence` and `PersistedCache`, with the keys and values of Effect's `Persistence.layerBackingRedis`, so that the
 * one may replace the other.
 *
 * It differs where many keys are in one command there: `clear` goes through the keys page by page (`SCAN`, `UNLINK`) instead
 * of blocking the server with `KEYS` and one `DEL`, and `getMany` and `setMany` are pipelines, so they work in a cluster. An
 * entry that is no JSON is as good as none in `getMany`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerBacking: Layer.Layer<Persistence.BackingPersistence, never, RedisService> = Layer.effect(
  Persistence.BackingPersistence,
  Effect.map(RedisService, backing.make)
)

/**
 * `Persistence` over `layerBacking`: what `PersistedCache.make` asks for.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPersistence: Layer.Layer<Persistence.Persistence, never, RedisService> = Layer.provide(
  Persistence.layer,
  layerBacking
)

/**
 * Relive's error behind an error of Effect's modules: a `PersistedQueueError`, a `RateLimiterError`, Effect's own `RedisError`.
 * `undefined` when there is none. It says whether what failed may have run (`delivery`) and may be tried again (`isRetryable`).
 *
 * ```ts
 * import { RedisPersistence } from "@relive/persistence"
 * import { Effect } from "effect"
 * import { Redis } from "effect/persistence"
 *
 * const increment = Effect.flatMap(Redis.Redis, (redis) => redis.send<number>("INCR", "visits")).pipe(
 *   Effect.catchTag("RedisError", (error) =>
 *     RedisPersistence.findError(error)?.delivery === "unsent" ? Effect.succeed(0) : Effect.fail(error)
 *   )
 * )
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const findError = (error: unknown): RedisError | undefined => {
  // Errors nest a few levels deep; one that holds itself must not hold us.
  let current = error
  for (let depth = 0; depth < 8; depth++) {
    if (isRedisError(current)) return current
    if (Predicate.hasProperty(current, "reason")) current = current.reason
    else if (Predicate.hasProperty(current, "cause")) current = current.cause
    else return undefined
  }
  return undefined
}

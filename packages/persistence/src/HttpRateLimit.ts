/**
 * A rate limit in front of an `HttpApi`: who asks too often gets `429 Too Many Requests` with `Retry-After`, whichever process of the
 * application he asks.
 *
 * ```ts
 * import { RedisLive } from "@relive/core"
 * import { HttpRateLimit, RedisPersistence } from "@relive/persistence"
 * import { Layer } from "effect"
 * import { HttpApiMiddleware } from "effect/http-api"
 * import { RateLimiter } from "effect/persistence"
 *
 * class Limited extends HttpApiMiddleware.Service<Limited>()("app/Limited", { error: HttpRateLimit.TooManyRequests }) {}
 * // in the api: HttpApiEndpoint.get("search", "/search").middleware(Limited)
 *
 * const LimiterLive = RateLimiter.layer.pipe(
 *   Layer.provide(RateLimiter.layerStoreRedis()),
 *   Layer.provide(RedisPersistence.layerWith({ timeout: "100 millis" })),
 *   Layer.provide(RedisLive)
 * )
 *
 * const LimitedLive = HttpRateLimit.layer(Limited, { limit: 100, window: "1 minute" }).pipe(Layer.provide(LimiterLive))
 * ```
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import type * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import type * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as Schema from "effect/Schema"
import * as httpRateLimit from "./internal/httpRateLimit.ts"

/**
 * The request was one too many: status 429. `retryAfterSeconds` is also in the header `Retry-After`.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooManyRequests extends Schema.TaggedError<TooManyRequests>()(
  "TooManyRequests",
  { retryAfterSeconds: Schema.Int },
  { httpApiStatus: 429 }
) {
  override get message(): string {
    return `Too many requests; try again in ${this.retryAfterSeconds} seconds`
  }
}

/**
 * Options of a limit.
 *
 * - `limit` requests in each `window`, by the `algorithm` (default `fixed-window`)
 * - `key`: who is counted (default: the address of the peer, which behind a proxy is the proxy's: use Effect's middleware for
 *   trusted proxies there, or count by user). `undefined` lets the request pass uncounted
 * - `name`: what the counters of this limit begin with (default: the group's and the endpoint's name, so that each endpoint has its
 *   own); give several endpoints one to have them counted together
 * - `whenUnavailable`: what happens when the limiter itself fails, as Redis is away: `"allow"` (default), with a warning in the log,
 *   or `"refuse"`, with status 503
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly limit: number
  readonly window: Duration.Input
  readonly algorithm?: "fixed-window" | "token-bucket" | undefined
  readonly name?: string | undefined
  readonly key?: ((request: HttpServerRequest.HttpServerRequest, target: Target) => string | undefined) | undefined
  readonly whenUnavailable?: "allow" | "refuse" | undefined
}

/**
 * The endpoint that was asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  readonly endpoint: HttpApiEndpoint.Top
  readonly group: HttpApiGroup.Top
}

/**
 * The middleware as a value, for a `HttpApiMiddleware.Service` whose error is `TooManyRequests` (or has it among others).
 *
 * Every response says in `ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset` (seconds) how far its limit is used up.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (
  options: Options
) => Effect.Effect<
  HttpApiMiddleware.HttpApiMiddleware<never, typeof TooManyRequests, never>,
  never,
  RateLimiter.RateLimiter
> = (options) =>
  Effect.map(RateLimiter.RateLimiter, (limiter) =>
    httpRateLimit.make(limiter, options, (retryAfterSeconds) => new TooManyRequests({ retryAfterSeconds }))
  )

/**
 * The middleware as the layer of a `HttpApiMiddleware.Service`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self>(
  tag: Context.Key<Self, HttpApiMiddleware.HttpApiMiddleware<never, typeof TooManyRequests, never>>,
  options: Options
): Layer.Layer<Self, never, RateLimiter.RateLimiter> => Layer.effect(tag, make(options))

/**
 * The middleware of `HttpRateLimit`.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Option from "effect/Option"
import type { RateLimiter, RateLimiterError } from "effect/persistence/RateLimiter"
import type { unhandled } from "effect/Types"
import type { Options, Target, TooManyRequests } from "../HttpRateLimit.ts"

/** Rounded up: a client that waits that long is let in. */
const seconds = (duration: Duration.Duration): number => Math.max(0, Math.ceil(Duration.toSeconds(duration)))

/** The headers that every response of this request will have, whatever it turns out to be. */
const withHeaders = (headers: Readonly<Record<string, string>>) =>
  HttpEffect.appendPreResponseHandler((_request, response) =>
    Effect.succeed(HttpServerResponse.setHeaders(response, headers))
  )

const peerOf = (request: HttpServerRequest.HttpServerRequest): string =>
  Option.getOrElse(request.remoteAddress, () => "unknown")

const unavailable = HttpServerResponse.empty({ status: 503, headers: { "retry-after": "1" } })

const fields = (limit: number, remaining: number, reset: number) => ({
  "ratelimit-limit": String(limit),
  "ratelimit-remaining": String(Math.max(0, remaining)),
  "ratelimit-reset": String(reset)
})

export const make = (
  limiter: RateLimiter,
  options: Options,
  tooMany: (retryAfterSeconds: number) => TooManyRequests
): HttpApiMiddleware.HttpApiMiddleware<never, typeof TooManyRequests, never> => {
  const { algorithm, key, limit, name, whenUnavailable, window } = options
  const keyOf = (request: HttpServerRequest.HttpServerRequest, target: Target) => {
    const who = key === undefined ? peerOf(request) : key(request, target)
    return who === undefined
      ? undefined
      : `${name ?? `${target.group.identifier}.${target.endpoint.identifier}`}:${who}`
  }
  return (httpEffect, target) => {
    const failed = (
      error: RateLimiterError
    ): Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      unhandled | TooManyRequests,
      HttpServerRequest.HttpServerRequest
    > => {
      if (error.reason._tag === "RateLimitExceeded") {
        const after = Math.max(1, seconds(error.reason.retryAfter))
        const headers = { ...fields(limit, 0, after), "retry-after": String(after) }
        return Effect.andThen(withHeaders(headers), Effect.fail(tooMany(after)))
      }
      if (whenUnavailable === "refuse") return Effect.succeed(unavailable)
      return Effect.andThen(
        Effect.logWarning("The rate limiter could not be asked; the request passes", error.reason.cause),
        httpEffect
      )
    }
    return Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const counted = keyOf(request, target)
      if (counted === undefined) return httpEffect
      return Effect.matchEffect(limiter.consume({ algorithm, window, limit, key: counted, onExceeded: "fail" }), {
        onFailure: failed,
        onSuccess: ({ remaining, resetAfter }) =>
          Effect.andThen(withHeaders(fields(limit, remaining, seconds(resetAfter))), httpEffect)
      })
    })
  }
}

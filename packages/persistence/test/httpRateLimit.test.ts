/** The rate limit of an HttpApi, over real requests. */
import { HttpRateLimit, RedisPersistence } from "@relive/persistence"
import { assert, describe, it } from "@effect/vitest"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Effect from "effect/Effect"
import { HttpClient, HttpClientRequest, HttpRouter } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware
} from "effect/http-api"
import * as Layer from "effect/Layer"
import { RateLimiter } from "effect/persistence"
import * as Schema from "effect/Schema"
import { server, withServer } from "./support.ts"

class Limited extends HttpApiMiddleware.Service<Limited>()("test/Limited", {
  error: HttpRateLimit.TooManyRequests
}) {}

const api = HttpApi.make("api").add(
  HttpApiGroup.make("group")
    .add(HttpApiEndpoint.get("one", "/one", { success: Schema.String }))
    .add(HttpApiEndpoint.get("other", "/other", { success: Schema.String }))
    .middleware(Limited)
)

const handlers = HttpApiBuilder.group(api, "group", (handlers) =>
  handlers.handle("one", () => Effect.succeed("one")).handle("other", () => Effect.succeed("other"))
)

const live = (options: Partial<HttpRateLimit.Options> = {}) => {
  const limiter = Layer.provide(
    RateLimiter.layer,
    Layer.provide(RateLimiter.layerStoreRedis(), RedisPersistence.layerWith({ timeout: "200 millis" }))
  )
  const limited = Layer.provide(HttpRateLimit.layer(Limited, { limit: 2, window: "10 seconds", ...options }), limiter)
  return HttpRouter.serve(Layer.provide(HttpApiBuilder.layer(api), handlers), { disableLogger: true }).pipe(
    Layer.provide(limited),
    Layer.provideMerge(NodeHttpServer.layerTest),
    Layer.provideMerge(withServer())
  )
}

const get = (path: string, headers: Record<string, string> = {}) =>
  Effect.map(
    Effect.flatMap(HttpClient.HttpClient, (client) =>
      client.execute(HttpClientRequest.setHeaders(HttpClientRequest.get(path), headers))
    ),
    ({ headers, status }) => ({ status, headers })
  )

describe("HttpRateLimit", () => {
  it.live("lets a limited number through, and says when to come back", () =>
    Effect.gen(function* () {
      const first = yield* get("/one")
      assert.strictEqual(first.status, 200)
      assert.strictEqual(first.headers["ratelimit-limit"], "2")
      assert.strictEqual(first.headers["ratelimit-remaining"], "1")
      assert.strictEqual((yield* get("/one")).status, 200)
      const refused = yield* get("/one")
      assert.strictEqual(refused.status, 429)
      const after = Number(refused.headers["retry-after"])
      assert.ok(after >= 1 && after <= 10, String(after))
      assert.strictEqual(refused.headers["ratelimit-remaining"], "0")
      // Each endpoint has a limit of its own.
      assert.strictEqual((yield* get("/other")).status, 200)
    }).pipe(Effect.provide(live()))
  )

  it.live("gives the generated client its typed error", () =>
    Effect.gen(function* () {
      const client = yield* HttpApiClient.make(api)
      yield* client.group.one()
      yield* client.group.one()
      const error = yield* Effect.flip(client.group.one())
      assert.ok(error._tag === "TooManyRequests" && error.retryAfterSeconds >= 1)
    }).pipe(Effect.provide(live()))
  )

  it.live("counts by whoever is asked for, and several endpoints together", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* get("/one", { "x-user": "ada" })).status, 200)
      assert.strictEqual((yield* get("/other", { "x-user": "ada" })).status, 200)
      assert.strictEqual((yield* get("/one", { "x-user": "ada" })).status, 429)
      assert.strictEqual((yield* get("/one", { "x-user": "bob" })).status, 200)
      for (let i = 0; i < 4; i++) assert.strictEqual((yield* get("/one")).status, 200)
    }).pipe(Effect.provide(live({ name: "all", key: (request) => request.headers["x-user"] })))
  )

  it.live("lets pass or refuses when the limiter cannot be asked, as it was told", () =>
    Effect.gen(function* () {
      const { pause, resume } = yield* server
      yield* pause
      const { headers, status } = yield* get("/one")
      yield* resume
      assert.strictEqual(status, 503)
      assert.strictEqual(headers["retry-after"], "1")
    }).pipe(
      Effect.provide(live({ whenUnavailable: "refuse" })),
      Effect.andThen(
        Effect.gen(function* () {
          const { pause, resume } = yield* server
          yield* pause
          const { status } = yield* get("/one")
          yield* resume
          assert.strictEqual(status, 200)
        }).pipe(Effect.provide(live()))
      )
    )
  )
})

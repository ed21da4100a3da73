/**
 * A store for Effect's `PersistedQueue` that is woken by the server instead of asking it once a second: an element that any
 * process offers is at its taker at once, and an idle worker costs next to nothing.
 *
 * ```ts
 * import { RedisLive } from "@relive/core"
 * import { RedisPersistedQueue } from "@relive/persistence"
 * import { Effect, Layer, Schema } from "effect"
 * import { PersistedQueue } from "effect/persistence"
 *
 * const QueueLive = RedisPersistedQueue.layer().pipe(Layer.provide(RedisLive))
 *
 * const program = Effect.gen(function* () {
 *   const mails = yield* PersistedQueue.make({ name: "mails", schema: Schema.Struct({ to: Schema.String }) })
 *   yield* mails.offer({ to: "ada@example.org" }, { id: "welcome:ada" })
 *   yield* mails.take(({ to }, { attempts }) => Effect.log(`attempt ${attempts}: ${to}`))
 * }).pipe(Effect.provide(QueueLive))
 * ```
 *
 * Keys and values are those of `PersistedQueue.layerStoreRedis`, as of effect 4.1: one may replace the other, and both may work on
 * one queue at the same time. So everything that Effect says of the queue holds: delivery at least once, attempts that are counted
 * when an element is taken, retries by the queue's schedule, what fails for good under `<prefix><name>:failed`.
 *
 * A take that waits does so in `BLMOVE` on a connection of its own, one for each queue that this process takes from, whatever the
 * number of its takers. Servers older than 6.2 do not have it: they are asked every `pollInterval`.
 *
 * @since 0.1.0
 */
import { RedisService } from "@relive/core/RedisService"
import type { Service } from "@relive/core/RedisService"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import type * as Scope from "effect/Scope"
import * as store from "./internal/queue/store.ts"

/**
 * Options of the store.
 *
 * - `prefix`: what its keys begin with (default `effectq:`, which is Effect's). In a Redis Cluster all keys of a queue must be on one
 *   node: give it a prefix in braces there, such as `{effectq}:`
 * - `pollInterval` (default 1 s): how late an element may be that another process offered with a `delay` while this one waited.
 *   Elements without a delay, and those whose time is known when the waiting begins, are not late
 * - `lockExpiration` (default 90 s): after how long an element may be taken by others whose taker has crashed
 * - `lockRefreshInterval` (default 30 s): how often takers that are alive say so, and those that are not are looked for
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly prefix?: string | undefined
  readonly pollInterval?: Duration.Input | undefined
  readonly lockRefreshInterval?: Duration.Input | undefined
  readonly lockExpiration?: Duration.Input | undefined
}

/**
 * The store over a service at hand, until the scope closes: then no element is handed out any more, and waiting takers fail.
 *
 * Every failure is a `PersistedQueueError`, with Relive's error as its `cause`. A take is not failed by a connection that comes
 * back: it waits.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeStore: (
  service: Service,
  options?: Options
) => Effect.Effect<PersistedQueue.PersistedQueueStore["Service"], never, Scope.Scope> = (service, options = {}) =>
  store.make(service, options)

/**
 * The store as a layer: for `PersistedQueue.layer`, and for `PersistedQueue.layerCleanup`, which removes what was completed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStore = (options?: Options): Layer.Layer<PersistedQueue.PersistedQueueStore, never, RedisService> =>
  layerStoreOf(RedisService, options)

/**
 * The same over an instance of your own (`Redis.Tag`).
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStoreOf = <Self>(
  tag: Context.Key<Self, Service>,
  options?: Options
): Layer.Layer<PersistedQueue.PersistedQueueStore, never, Self> =>
  Layer.effect(
    PersistedQueue.PersistedQueueStore,
    Effect.flatMap(Effect.service(tag), (service) => makeStore(service, options))
  )

/**
 * `PersistedQueue.layer` over `layerStore`: what `PersistedQueue.make` asks for.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<PersistedQueue.PersistedQueueFactory, never, RedisService> =>
  Layer.provide(PersistedQueue.layer, layerStore(options))

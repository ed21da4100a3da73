/**
 * Effect's `KeyValueStore` on Redis, of which Effect has none: for settings, sessions, `Atom`s that outlive a process, and
 * `Persistence.layerKvs`.
 *
 * ```ts
 * import { RedisLive } from "@relive/core"
 * import { RedisKeyValueStore } from "@relive/persistence"
 * import { Effect, Layer } from "effect"
 * import { KeyValueStore } from "effect/persistence"
 *
 * const StoreLive = RedisKeyValueStore.layer({ prefix: "settings:" }).pipe(Layer.provide(RedisLive))
 *
 * const theme = Effect.flatMap(KeyValueStore.KeyValueStore, (store) => store.get("theme")).pipe(Effect.provide(StoreLive))
 * ```
 *
 * @since 0.1.0
 */
import { RedisService } from "@relive/core/RedisService"
import type { Service } from "@relive/core/RedisService"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as KeyValueStore from "effect/persistence/KeyValueStore"
import { KeyValueStore as Tag } from "effect/persistence/KeyValueStore"
import * as keyValueStore from "./internal/keyValueStore.ts"

/**
 * Options of a store.
 *
 * - `prefix`: what its keys begin with on the server. All that begins with it belongs to the store, and goes with `clear`;
 *   so there is no default
 * - `timeToLive`: after how long an entry is gone that was not set again (default: never). `modify` leaves it as it is
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly prefix: string
  readonly timeToLive?: Duration.Input | undefined
}

/**
 * A store over a service at hand.
 *
 * - Values are kept as they are, texts as UTF-8, bytes as bytes. `get` of an entry that is no UTF-8 gives base64, as Effect's
 *   own stores do
 * - `modify` is atomic: when another client changed the entry meanwhile its function runs again, on the new value. It fails
 *   when that did not come to an end within the connection's `timeout`
 * - `keys`, `size` and `clear` go through the keys page by page (`SCAN`), which takes a while when there are millions, but
 *   holds up nobody else. `size` counts the keys of the store, not of the database
 *
 * Fails with a `KeyValueStoreError`, whose `cause` is Relive's error. It names no key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (service: Service, options: Options) => KeyValueStore.KeyValueStore = keyValueStore.make

/**
 * A store as a layer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<KeyValueStore.KeyValueStore, never, RedisService> =>
  layerOf(RedisService, options)

/**
 * The same over an instance of your own (`Redis.Tag`).
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOf = <Self>(
  tag: Context.Key<Self, Service>,
  options: Options
): Layer.Layer<KeyValueStore.KeyValueStore, never, Self> =>
  Layer.effect(
    Tag,
    Effect.map(Effect.service(tag), (service) => make(service, options))
  )

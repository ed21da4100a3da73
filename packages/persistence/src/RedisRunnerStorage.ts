/**
 * Effect Cluster's `RunnerStorage` on Redis: which runners there are, how they are, and which of them holds which shard. With it a
 * cluster of Effect needs no SQL database for its runners (its messages still need a `MessageStorage`).
 *
 * ```ts
 * import { RedisLive } from "@relive/core"
 * import { RedisRunnerStorage } from "@relive/persistence"
 * import { Layer } from "effect"
 * import { ShardingConfig } from "effect/cluster"
 *
 * const StorageLive = RedisRunnerStorage.layer().pipe(Layer.provide(RedisLive), Layer.provide(ShardingConfig.layer()))
 * ```
 *
 * Each operation is one script, so it happens wholly or not at all. A shard is held by a lease: a key that is gone after
 * `shardLockExpiration` unless its runner renews it, by the server's clock alone. The lease names the runner *and* a token of
 * its process: one that was frozen, and replaced by another at the same address, can neither renew nor release what is not
 * its own any more.
 *
 * A lease protects as far as the server keeps what it acknowledged: after a failover to a replica that had not heard of it two
 * runners may hold a shard for a while, as with every lock on one Redis.
 *
 * @since 0.1.0
 */
import { RedisService } from "@relive/core/RedisService"
import type { Service } from "@relive/core/RedisService"
import * as RunnerStorage from "effect/cluster/RunnerStorage"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as runnerStorage from "./internal/runnerStorage.ts"

/**
 * Options of the storage.
 *
 * - `prefix`: what its keys begin with (default `cluster`). All keys have it in braces, so that they are on one node of a Redis
 *   Cluster. Runners with different prefixes know nothing of each other
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly prefix?: string | undefined
}

/**
 * The storage over a service at hand. It reads `shardLockExpiration` and `shardLockRefreshInterval` from `ShardingConfig`; the
 * shorter of the refresh and a third of the expiration is the deadline of its calls.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (
  service: Service,
  options?: Options
) => Effect.Effect<RunnerStorage.RunnerStorage["Service"], never, ShardingConfig.ShardingConfig> = (service, options) =>
  Effect.map(ShardingConfig.ShardingConfig, (config) =>
    RunnerStorage.makeEncoded(runnerStorage.make(service, config, options?.prefix ?? "cluster"))
  )

/**
 * The storage as a layer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: Options
): Layer.Layer<RunnerStorage.RunnerStorage, never, RedisService | ShardingConfig.ShardingConfig> =>
  layerOf(RedisService, options)

/**
 * The same over an instance of your own (`Redis.Tag`).
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOf = <Self>(
  tag: Context.Key<Self, Service>,
  options?: Options
): Layer.Layer<RunnerStorage.RunnerStorage, never, Self | ShardingConfig.ShardingConfig> =>
  Layer.effect(
    RunnerStorage.RunnerStorage,
    Effect.flatMap(Effect.service(tag), (service) => make(service, options))
  )

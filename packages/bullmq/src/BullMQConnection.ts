/**
 * BullMQ on a supervised Redis connection: a client for its option `connection`.
 *
 * ```ts
 * import { BullMQConnection } from "@relive/bullmq"
 * import { RedisLive } from "@relive/core"
 * import { Queue, Worker } from "bullmq"
 *
 * const connection = BullMQConnection.fromLayer(RedisLive)
 *
 * const mails = new Queue<{ to: string }>("mails", { connection })
 * const worker = new Worker<{ to: string }>("mails", async ({ data }) => `sent to ${data.to}`, { connection })
 *
 * const stop = async () => {
 *   await worker.close()
 *   await mails.close()
 *   await connection.close()
 * }
 * ```
 *
 * All queues and workers of a process share the one connection. What waits for jobs or events waits on a lease of its own, with
 * the name that BullMQ gives it, so there must be as many `leases` as workers and `QueueEvents` (default 32).
 *
 * BullMQ counts on a client that repeats what a lost connection cut off. Its scripts are repeated here until they succeed,
 * and each happens once all the same: those that would do something twice leave a note of what they returned, which a repeated
 * one finds. So a job is not added twice, and none is taken and forgotten, when only the reply was lost. What is in a
 * `multi` is not repeated, as nobody could know.
 *
 * In a Redis Cluster all keys of a queue must be on one node: give BullMQ a `prefix` in braces.
 *
 * It follows BullMQ's exported interface `IRedisClient`, as of 6.7.
 *
 * @since 0.1.0
 */
import { RedisService } from "@relive/core/RedisService"
import type { Service } from "@relive/core/RedisService"
import type { IRedisClient } from "bullmq"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import type * as Scope from "effect/Scope"
import { Hub } from "./internal/hub.ts"
import { Client as View } from "./internal/client.ts"

/**
 * A client for BullMQ's option `connection`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client extends IRedisClient {
  /**
   * Ends the client and all that BullMQ made of it, and the connection if the client made that. To be called when queues and
   * workers are closed.
   */
  readonly close: () => Promise<void>
}

/**
 * Options of a client.
 *
 * - `retryFor`: for how long a call is repeated while the connection is lost (default: as long as it takes, which is what workers
 *   need). A process that only adds jobs may want an error instead, after `"10 seconds"` say
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly retryFor?: Duration.Input | undefined
}

/**
 * A client over a service at hand: of a `ManagedRuntime`, or taken in an Effect. The maker of the service closes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromService = (service: Service, options: Options = {}): Client =>
  new View(
    new Hub(
      () => Promise.resolve(service),
      () => Promise.resolve(),
      options
    ),
    undefined
  )

/**
 * A client of its own over a layer, which is built when BullMQ first needs it and stays until `close`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromLayer = <E>(layer: Layer.Layer<RedisService, E>, options?: Options): Client =>
  fromLayerOf(RedisService, layer, options)

/**
 * The same for an instance of your own (`Redis.Tag`).
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromLayerOf = <Self, E>(
  tag: Context.Key<Self, Service>,
  layer: Layer.Layer<Self, E>,
  options: Options = {}
): Client => {
  const runtime = ManagedRuntime.make(layer)
  const service = Effect.contextWith((context: Context.Context<Self>) => Effect.succeed(Context.get(context, tag)))
  const hub = new Hub(
    () => runtime.runPromise(service),
    () => runtime.dispose(),
    options
  )
  return new View(hub, undefined)
}

/**
 * A client in a program of Effects, until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): Effect.Effect<Client, never, RedisService | Scope.Scope> =>
  Effect.flatMap(RedisService, (service) =>
    Effect.acquireRelease(
      Effect.sync(() => fromService(service, options)),
      (client) => Effect.promise(() => client.close())
    )
  )

/**
 * Relive, as a program uses it: a `Layer` from `Redis.layer` and `Redis.command` in fibers, with its defaults on (RESP3,
 * deadline, bounds, cancellation, liveness, supervision).
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { entriesOf, plainBatch, Unsupported, type Calls } from "../calls.ts"
import { effectDriver } from "../loops.ts"
import type { Client, Connection, Subscribe, Target } from "./client.ts"

type Command = ReadonlyArray<string>
type Reply = Effect.Effect<unknown, unknown, unknown>

/** The settings of a call of its own. */
interface Options {
  readonly decode?: "bytes"
  readonly schema?: Schema.Schema<string>
}

type PubSubEvent = { readonly _tag: string; readonly payload?: string }

/** The part of `Redis` that the benchmarks use. */
export interface RedisApi {
  readonly layer: (options: {
    readonly host: string
    readonly port: number
    readonly timeout?: "infinite"
  }) => Layer.Layer<unknown, unknown>
  readonly command: (args: Command, options?: Options) => Reply
  readonly pipeline: (commands: ReadonlyArray<Command>) => Reply
  readonly publish: (channel: string, message: string) => Reply
  readonly subscribe: (channel: string) => Stream.Stream<PubSubEvent, unknown, unknown>
  readonly Telemetry?: Context.Reference<{ readonly spans: boolean; readonly metrics: boolean }> | undefined
  readonly transaction?: ((commands: ReadonlyArray<Command>) => Reply) | undefined
}

const isApi = (value: unknown): value is RedisApi =>
  typeof value === "object" && value !== null && ["layer", "command", "pipeline"].every((name) => name in value)

/** Loads the driver at run time, so that the other clients can be measured in a workspace without it. */
const loadApi = async (): Promise<RedisApi> => {
  const core: object = await import("@relive/core")
  const api = "Redis" in core ? core.Redis : undefined
  if (!isApi(api)) throw new Error("@relive/core has no Redis.layer, Redis.command and Redis.pipeline yet")
  return api
}

const bytes = { decode: "bytes" } as const

/** The calls of the workloads. */
export const callsOf = (redis: RedisApi): Calls<Reply> => ({
  get: (key) => redis.command(["GET", key]),
  getBytes: (key) => redis.command(["GET", key], bytes),
  set: (key, value) => redis.command(["SET", key, value]),
  publish: (channel, message) => redis.publish(channel, message),
  list: (key) => redis.command(["LRANGE", key, "0", "-1"]),
  hash: (key) => redis.command(["HGETALL", key]),
  pipeline: (keys) => redis.pipeline(keys.map((key) => ["GET", key])),
  transaction: (keys, value) => {
    if (redis.transaction === undefined) throw new Unsupported("Redis.transaction")
    return redis.transaction([...keys.map((key) => ["SET", key, value]), ...keys.map((key) => ["GET", key])])
  }
})

/** Builds `layer`, waits until it replies, and runs the calls of `Redis` in it. */
export const openLayer = async (
  layerOf: (redis: RedisApi) => Layer.Layer<unknown, unknown> | Promise<Layer.Layer<unknown, unknown>>,
  calls: (redis: RedisApi) => Calls<Reply> = callsOf
): Promise<Connection> => {
  const redis = await loadApi()
  const scope = Scope.makeUnsafe()
  const context: Context.Context<unknown> = await Effect.runPromise(Layer.buildWithScope(await layerOf(redis), scope))
  const run = <A>(effect: Effect.Effect<A, unknown, unknown>): Promise<A> =>
    Effect.runPromise(Effect.provideContext(effect, context))
  await run(redis.command(["PING"]))
  const subscribe: Subscribe = async (channel, count, onMessage) => {
    for (let i = 0; i < count; i++) {
      await new Promise<void>((resolve, reject) => {
        const told = Stream.runForEachArray(redis.subscribe(channel), (events) =>
          Effect.sync(() => {
            for (const event of events) {
              if (event._tag === "Message") onMessage(i, event.payload ?? "")
              else if (event._tag === "Subscribed") resolve()
              else reject(new Error(`told a ${event._tag}`))
            }
          })
        )
        Effect.runFork(Effect.provideContext(Effect.forkIn(told, scope), context))
      })
    }
  }
  return {
    driver: effectDriver(calls(redis), run),
    subscribe,
    shapes: { batch: plainBatch, hash: entriesOf },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Relive with telemetry on. */
export const withTelemetry = (telemetry: { readonly spans: boolean; readonly metrics: boolean }): Client => ({
  open: (target) =>
    openLayer(({ layer, Telemetry }) => {
      if (Telemetry === undefined) throw new Error("@relive/core has no Redis.Telemetry yet")
      return Layer.provide(layer({ host: target.host, port: target.port }), Layer.succeed(Telemetry, telemetry))
    })
})

/** Effect's persistence modules on Relive, with its own stores where it has them. Loaded when they are measured. */
const openFamily = async ({ host, port }: Target): Promise<Connection> => {
  const { Redis } = await import("@relive/core")
  const { RedisPersistedQueue, RedisPersistence } = await import("@relive/persistence")
  const family = await import("./family.ts")
  const { RateLimiter } = await import("effect/persistence")
  const limiter = Layer.provide(RateLimiter.layer, Layer.provide(RateLimiter.layerStoreRedis(), RedisPersistence.layer))
  const modules = Layer.mergeAll(limiter, RedisPersistedQueue.layer(), RedisPersistence.layerPersistence)
  return family.openFamily(Layer.provide(modules, Redis.layer({ host, port })))
}

export const client: Client = {
  open: (target) => openLayer((redis) => redis.layer({ host: target.host, port: target.port })),
  openFamily
}

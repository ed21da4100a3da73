/**
 * Effect's persistence modules as a program uses them, on the Redis that a client provides.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { Persistable, PersistedQueue, Persistence, RateLimiter } from "effect/persistence"
import type { Redis } from "effect/persistence"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { entriesOf, plainBatch, type Calls } from "../calls.ts"
import { effectDriver } from "../loops.ts"
import type { Connection } from "./client.ts"

type Call = Effect.Effect<unknown, unknown>

class GetUser extends Persistable.Class<{ payload: { readonly id: number } }>()("GetUser", {
  primaryKey: ({ id }) => `${id}`,
  success: Schema.Struct({ name: Schema.String, since: Schema.Date })
}) {}

const userOf = (id: number) => ({ name: `user ${id}`, since: new Date(id) })

/** Entries that can be read. */
export const CACHED = 256

const absent = (): never => {
  throw new Error("only the family is measured here")
}

const make = Effect.gen(function* () {
  const limiter = yield* RateLimiter.RateLimiter
  const queue = yield* PersistedQueue.make({ name: "bench", schema: Schema.String })
  const store = yield* (yield* Persistence.Persistence).make({ storeId: "bench" })
  const ok = Effect.succeed("ok")
  // Kept: the schema of a request's exit is made once for each, and costs more than all the rest.
  const requests = Array.from({ length: CACHED }, (_, id) => new GetUser({ id }))
  for (const request of requests) yield* store.set(request, Exit.succeed(userOf(request.id)))
  const calls: Calls<Call> = {
    get: absent,
    getBytes: absent,
    set: absent,
    list: absent,
    hash: absent,
    pipeline: absent,
    transaction: absent,
    publish: absent,
    family: {
      limit: (key) => Effect.flatMap(limiter.consume({ key, limit: 1_000_000_000, window: "1 hour" }), () => ok),
      queue: (element) =>
        Effect.andThen(
          queue.offer(element),
          queue.take((taken) => Effect.succeed(taken.startsWith("element ") ? "ok" : "another"))
        ),
      cache: (id) =>
        Effect.map(store.get(requests[id] ?? new GetUser({ id })), (exit) =>
          exit !== undefined && Exit.isSuccess(exit) ? exit.value.name : "nothing"
        )
    }
  }
  return calls
})

/** The parts of a client: the three modules. */
export type Modules = RateLimiter.RateLimiter | PersistedQueue.PersistedQueueFactory | Persistence.Persistence

/** Effect's own stores over Effect's Redis. */
export const overRedis: Layer.Layer<Modules, never, Redis.Redis> = Layer.mergeAll(
  Layer.provide(RateLimiter.layer, RateLimiter.layerStoreRedis()),
  Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreRedis()),
  Persistence.layerRedis
)

export const openFamily = async (modules: Layer.Layer<Modules, unknown>): Promise<Connection> => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(Layer.buildWithScope(modules, scope))
  const calls = await Effect.runPromise(make.pipe(Scope.provide(scope), Effect.provideContext(context)))
  return {
    driver: effectDriver(calls, Effect.runPromise),
    shapes: { batch: plainBatch, hash: entriesOf },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

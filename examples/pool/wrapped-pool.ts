/**
 * A pool under the application's supervisor, behind a module of the application's own: the rest of the program says what it
 * wants (`visits.count`), and only this file knows that there is Redis, how many connections, and how they are chosen.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/pool/wrapped-pool.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisService, type RedisError } from "@relive/core"
import { Supervisor } from "@relive/otp"
import { RedisPool } from "@relive/pool"
import { Config, Console, Context, Effect, Layer } from "effect"

const name = Redis.Name("visits")

/** The pool is a child of the application like any other: five connections, chosen at random. */
export const tree = (url: string) =>
  Supervisor.make({
    children: [RedisPool.childSpec({ register: name, url, size: 5, strategy: "random" })]
  })

/** The part that the rest of the application sees. */
export class Visits extends Context.Service<
  Visits,
  {
    /** Counts a visit of a page, and returns how many there have been. */
    readonly count: (page: string) => Effect.Effect<number, RedisError.RedisError>
    /** The pages that were visited most, the first one first. */
    readonly top: (count: number) => Effect.Effect<ReadonlyArray<string>, RedisError.RedisError>
  }
>()("example/Visits") {
  /** Finds the pool by its name, and follows it through restarts. */
  static readonly layer = Layer.effect(
    Visits,
    Effect.gen(function* () {
      const inPool = Effect.provideService(RedisService, yield* Redis.named(name))
      return {
        count: (page) => inPool(Commands.zincrby("example:pages", 1, page)),
        top: (count) => inPool(Commands.zrange("example:pages", 0, count - 1, { rev: true }))
      }
    })
  )
}

export const program = Effect.gen(function* () {
  const visits = yield* Visits
  yield* Effect.forEach(["/", "/about", "/", "/news", "/", "/news"], visits.count, { concurrency: "unbounded" })
  return yield* visits.top(2)
})

export const live = (url: string) => Layer.provide(Visits.layer, Supervisor.layer(tree(url)))

if (import.meta.main) {
  Config.String("REDIS_URL").pipe(
    Config.withDefault("redis://127.0.0.1:6379"),
    Effect.flatMap((url) => Effect.provide(program, live(url))),
    Effect.flatMap(Console.log),
    NodeRuntime.runMain
  )
}

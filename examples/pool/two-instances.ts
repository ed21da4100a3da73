/**
 * Two instances for two purposes: large values and small ones do not wait for each other. Each is a service of its own, with
 * its own options, and the types say which one a program needs.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/pool/two-instances.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis } from "@relive/core"
import { RedisPool } from "@relive/pool"
import { Config, Console, Effect, Layer } from "effect"

/** For what is large and may take its time: a pool, so that one value does not hold up the next. */
export class Bulk extends Redis.Tag<Bulk>()("example/Bulk") {}

/** For what is small and must be quick. */
export class Short extends Redis.Tag<Short>()("example/Short") {}

export const program = Effect.gen(function* () {
  yield* Bulk.command(Commands.set("example:report", "x".repeat(1_000_000)))
  yield* Short.command(Commands.set("example:count", 0))
  const [report, visits] = yield* Effect.all(
    [Bulk.command(Commands.strlen("example:report")), Short.command(Commands.incr("example:count"))],
    {
      concurrency: "unbounded"
    }
  )
  return { report, visits }
})

export const live = (url: string) =>
  Layer.merge(
    RedisPool.layerFor(Bulk, { url, size: 3, timeout: "1 minute", name: "bulk" }),
    Short.layer({ url, timeout: "250 millis", name: "short" })
  )

if (import.meta.main) {
  Config.String("REDIS_URL").pipe(
    Config.withDefault("redis://127.0.0.1:6379"),
    Effect.flatMap((url) => Effect.provide(program, live(url))),
    Effect.flatMap(Console.log),
    NodeRuntime.runMain
  )
}

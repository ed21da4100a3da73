/**
 * A counter of a hot page in a cluster: one key would be on one node, so the count is spread over parts with hash tags of
 * their own, and read as their sum.
 *
 * An increment goes to a part by chance, so no node is asked more than its share. Reading asks for all parts with one `MGET`,
 * which is split over their slots. While slots move or a node fails over, both go on: a refusal proves that nothing has run, so
 * nothing is counted twice. What was on the wire when a node was lost is `unknown`, as with one connection: the count is at least
 * what was acknowledged.
 *
 * Use it where one key would be too hot for one node. For a count that is read more often than written, one key is better.
 *
 *     REDIS_CLUSTER_NODES=redis://127.0.0.1:7000 node examples/cluster/sharded-counter.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { RedisCluster } from "@relive/cluster"
import { Redis } from "@relive/core"
import { Console, Effect, Random, Schema } from "effect"

/** More parts than nodes, so that they stay spread when nodes are added. */
const PARTS = 16

const partOf = (page: string, part: number) => `example:visits:{${page}:${part}}`

const parts = (page: string) => Array.from({ length: PARTS }, (_, part) => partOf(page, part))

const Counts = Schema.Array(Schema.NullOr(Schema.FiniteFromString))

/** Counts a visit. What was not sent is sent again: it cannot have counted. */
export const visit = (page: string) =>
  Effect.flatMap(Random.nextIntBetween(0, PARTS, { halfOpen: true }), (part) =>
    Redis.command(["INCR", partOf(page, part)], { retry: { for: "unsent" } })
  )

/** The count so far. Its parts are read one after the other, so it is of no single moment. */
export const visits = (page: string) =>
  Effect.map(Redis.command(["MGET", ...parts(page)], { schema: Counts }), (counts) =>
    counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)
  )

/** Forgets the count. `DEL` runs in parts, too. */
export const forget = (page: string) => Redis.command(["DEL", ...parts(page)])

export const program = Effect.gen(function* () {
  yield* forget("home")
  yield* Effect.all(Effect.replicate(visit("home"), 1000), { concurrency: "unbounded" })
  return yield* visits("home")
})

if (import.meta.main) {
  program.pipe(Effect.tap(Console.log), Effect.provide(RedisCluster.layerConfig()), NodeRuntime.runMain)
}

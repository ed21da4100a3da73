/** The work on a connection that nobody shares: leases by hand, and optimistic transactions. */
import { Redis, type RedisService } from "@relive/core"
import type { RedisError } from "@relive/core/RedisError"
import type { PipelineReply, Service } from "@relive/core/RedisService"
import type { Reply } from "@relive/core/Resp"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { show } from "./Fixtures.ts"
import * as Traces from "./Traces.ts"
import { repeat, type Work } from "./Work.ts"

/** Reads, then writes; `dirty` changes the state of the connection in between, so that it is not used again. */
const onLease = (id: number, dirty: boolean): Effect.Effect<Reply, RedisError, RedisService> => {
  const use = (lease: Service) =>
    Effect.gen(function* () {
      if (dirty) yield* lease.command(["CLIENT", "NO-EVICT", "OFF"])
      const before = yield* lease.command(["GET", "fixture:short"])
      if (before !== "short") return before
      return yield* lease.command(["HINCRBY", Traces.counts, id, 1])
    })
  const scoped: Effect.Effect<Reply, RedisError, RedisService | Scope.Scope> = Effect.flatMap(Redis.lease, use)
  return Effect.scoped(scoped)
}

/** Takes a lease, uses it and gives it back. */
export const leases = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "lease",
    Effect.suspend(() =>
      work.book.call(
        {
          lane: work.lane,
          kind: "lease",
          effects: ["write", "read"],
          keys: [Traces.counts],
          composite: true,
          check: (reply) => (reply === 1 ? undefined : `answered ${show(reply)}, not 1`),
          run: ([id = -1]) => onLease(id, work.random.chance(0.2))
        },
        work.random
      )
    )
  )

const numberOf = (reply: Reply): number => (reply === null ? 0 : Number(reply))

/** Counts up a counter that others count up as well. */
export const watches = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "watch",
    Effect.suspend(() => {
      const counter = work.random.pick(Traces.counters)
      return work.book.call(
        {
          lane: work.lane,
          kind: "watch",
          effects: ["write", "read"],
          keys: [counter],
          composite: true,
          check: (replies: ReadonlyArray<PipelineReply>) =>
            replies.length === 2 && replies[0] === "OK" ? undefined : `answered ${show(replies)}`,
          run: ([id = -1]) =>
            Redis.watch(
              [counter],
              Effect.map(Redis.command(["GET", counter]), (found) => {
                const next = numberOf(found) + 1
                return [
                  ["SET", counter, next],
                  ["RPUSH", Traces.logOf(counter), `${id}:${next}`]
                ]
              })
            )
        },
        work.random
      )
    })
  )

/**
 * A stream with a consumer group: an ordered log of entries, shared out among consumers that may come, go and die.
 *
 * Each entry is delivered to one consumer of the group and stays *pending* until that one acknowledges it. What has
 * been pending for longer than `claimAfter` is taken over by the consumer that asks next, so an entry of a dead consumer is handled by
 * another one. Entries may be handled twice: make it harmless, by their ids say. Choose `claimAfter` longer
 * than an entry ever takes.
 *
 * Use it instead of `queue.ts` when entries are to be kept and read again, when several groups read the same entries, or
 * when consumers have no lasting names.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/consumer-group.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { Console, Deferred, Duration, Effect } from "effect"

const stream = "example:orders"

const group = "shipping"

/** An entry: its id and its fields; no fields when it was deleted meanwhile. */
export type Entry = readonly [id: string, fields: Readonly<Record<string, string>> | null]

/** Makes the stream and its group, unless they are there. */
export const createGroup = Commands.xgroupCreate(stream, group, 0, { mkstream: true }).pipe(
  Effect.catchReason("RedisError", "ReplyError", (reason, error) =>
    reason.code === "BUSYGROUP" ? Effect.void : Effect.fail(error)
  )
)

/** Adds an order and gives its id. About the last 100 000 are kept. */
export const publish = (order: string) =>
  Commands.xadd(stream, "*", { order }, { trim: { strategy: "MAXLEN", operator: "~", threshold: 100_000 } })

/** The number of entries that are with a consumer and not acknowledged. */
export const pending = Effect.map(Commands.xpending(stream, group), ([count]) => count)

/** Handles entries, one after the other, until it is interrupted or fails. */
export const consume = <E, R>(
  consumer: string,
  claimAfter: Duration.Input,
  handle: (entry: Entry) => Effect.Effect<void, E, R>
) =>
  Effect.suspend(() => {
    let cursor = "0-0"

    const claim = Effect.suspend(() =>
      Commands.xautoclaim(stream, group, consumer, Duration.toMillis(claimAfter), cursor, { count: 10 })
    )

    // Half of `claimAfter`, so that nothing lies about for long even when nothing new comes.
    const block = Math.ceil(Duration.toMillis(claimAfter) / 2)
    const read = Commands.xreadgroup(group, consumer, { [stream]: ">" }, { count: 10, block })

    const next = Effect.gen(function* () {
      const [goOn, claimed] = yield* claim
      cursor = goOn
      if (claimed.length > 0) return claimed
      return (yield* read)?.[stream] ?? []
    })

    const done = ([id]: Entry) => Redis.command(Commands.xack(stream, group, id), { retry: { for: "any" } })

    return next.pipe(
      Effect.flatMap(Effect.forEach((entry) => Effect.andThen(handle(entry), done(entry)), { discard: true })),
      Effect.forever
    )
  })

export const program = Effect.gen(function* () {
  yield* Commands.del(stream)
  yield* createGroup
  yield* Effect.forEach(
    Array.from({ length: 5 }, (_, index) => `order ${index + 1}`),
    publish
  )

  // The first consumer is given all five, ships one, and dies.
  const shipped: Array<string> = []
  const ship = (consumer: string, [, fields]: Entry) => shipped.push(`${fields?.["order"]} by ${consumer}`)
  const ann = consume("ann", "200 millis", (entry) =>
    shipped.length === 0 ? Effect.sync(() => ship("ann", entry)) : Effect.fail("out of memory" as const)
  )
  yield* Effect.ignore(ann)

  const allShipped = yield* Deferred.make<void>()
  const bob = consume("bob", "200 millis", (entry) =>
    Effect.suspend(() => (ship("bob", entry) === 5 ? Deferred.succeed(allShipped, undefined) : Effect.void))
  )
  yield* Effect.raceFirst(bob, Deferred.await(allShipped))
  return shipped
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)

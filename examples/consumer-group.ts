/**
 * A stream with a consumer group: an ordered log of entries, shared out among consumers that may come, go and die.
 *
 * Each entry is delivered to one consumer of the group and stays *pending* until that one acknowledges it. What has
 * been pending for longer than `claimAfter` is taken over by whoever asks next, so an entry of a dead consumer is handled by
 * another one. Entries may be handled twice: make it harmless, by their ids say. Choose `claimAfter` longer
 * than an entry ever takes.
 *
 * Use it instead of `queue.ts` when entries are to be kept and read again, when several groups read the same entries, or
 * when consumers have no lasting names.
 *
 * Replies of RESP3 are read here, and `XAUTOCLAIM` as servers answer it from version 7 on.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/consumer-group.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Redis, RedisLive } from "@relive/core"
import { Console, Deferred, Duration, Effect, Schema } from "effect"

const stream = "example:orders"

const group = "shipping"

/** An entry: its id, and its fields and values in turn. */
const Entry = Schema.Tuple([Schema.String, Schema.Array(Schema.String)])
export type Entry = typeof Entry.Type

/** New entries by stream; null when none came in time. */
const Delivered = Schema.NullOr(Schema.ReadonlyMap(Schema.String, Schema.Array(Entry)))

/** Where to go on, the entries that are ours now, and the ids of those that were deleted. */
const Claimed = Schema.Tuple([Schema.String, Schema.Array(Entry), Schema.Array(Schema.String)])

/** Makes the stream and its group, unless they are there. */
export const createGroup = Redis.command(["XGROUP", "CREATE", stream, group, 0, "MKSTREAM"]).pipe(
  Effect.catchReason("RedisError", "ReplyError", (reason, error) =>
    reason.code === "BUSYGROUP" ? Effect.void : Effect.fail(error)
  )
)

/** Adds an order and gives its id. About the last 100 000 are kept. */
export const publish = (order: string) =>
  Redis.command(["XADD", stream, "MAXLEN", "~", 100_000, "*", "order", order], { schema: Schema.String })

/** How many entries are with a consumer and not acknowledged. */
export const pending = Redis.command(["XPENDING", stream, group]).pipe(
  Effect.map((summary) => (Array.isArray(summary) ? Number(summary[0]) : 0))
)

/** Handles entries, one after the other, until it is interrupted or fails. */
export const consume = <E, R>(
  consumer: string,
  claimAfter: Duration.Input,
  handle: (entry: Entry) => Effect.Effect<void, E, R>
) =>
  Effect.suspend(() => {
    let cursor = "0-0"

    const claim = Redis.command(
      ["XAUTOCLAIM", stream, group, consumer, Duration.toMillis(claimAfter), cursor, "COUNT", 10],
      { schema: Claimed }
    )

    // Half of `claimAfter`, so that nothing lies about for long even when nothing new comes.
    const block = Math.ceil(Duration.toMillis(claimAfter) / 2)
    const read = Redis.command(
      ["XREADGROUP", "GROUP", group, consumer, "COUNT", 10, "BLOCK", block, "STREAMS", stream, ">"],
      { schema: Delivered }
    )

    const next = Effect.gen(function* () {
      const [goOn, claimed] = yield* claim
      cursor = goOn
      if (claimed.length > 0) return claimed
      return (yield* read)?.get(stream) ?? []
    })

    const done = ([id]: Entry) => Redis.command(["XACK", stream, group, id], { retry: { for: "any" } })

    return next.pipe(
      Effect.flatMap(Effect.forEach((entry) => Effect.andThen(handle(entry), done(entry)), { discard: true })),
      Effect.forever
    )
  })

export const program = Effect.gen(function* () {
  yield* Redis.command(["DEL", stream])
  yield* createGroup
  yield* Effect.forEach(
    Array.from({ length: 5 }, (_, index) => `order ${index + 1}`),
    publish
  )

  // The first consumer is given all five, ships one, and dies.
  const shipped: Array<string> = []
  const ship = (consumer: string, [, [, order]]: Entry) => shipped.push(`${order} by ${consumer}`)
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

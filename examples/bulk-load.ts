/**
 * A bulk load: a stream of rows into Redis, in batches whose replies are never sent.
 *
 * `Redis.noreply` switches the replies off around each batch, which saves the server writing them and us reading them, and
 * succeeds when the server has read the whole batch. The price is that errors of single commands are not seen (a
 * server out of memory refuses every `SET` in silence), so a load ends with a count of what is there.
 *
 * Use it for data that can be loaded again from where it came. Rows are sent in batches of 1 000, four at a time, so the
 * stream is read no faster than the server takes it. A batch whose connection broke is sent again, which does no harm: setting
 * a key twice is setting it once.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/bulk-load.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis, RedisLive } from "@relive/core"
import { Console, Effect, Stream } from "effect"

export type Row = readonly [key: string, value: string]

const batchSize = 1000

const lifetime = 60 * 60

/** Sends all rows, and gives their number. */
export const load = <E, R>(rows: Stream.Stream<Row, E, R>) =>
  rows.pipe(
    Stream.grouped(batchSize),
    Stream.mapEffect(
      (batch) =>
        Redis.noreply(
          batch.map(([key, value]) => Commands.set(key, value, { ex: lifetime })),
          { retry: { for: "any" }, timeout: "30 seconds" }
        ).pipe(Effect.as(batch.length)),
      { concurrency: 4 }
    ),
    Stream.runSum
  )

/** The number of the keys that are there. */
export const count = <E, R>(keys: Stream.Stream<string, E, R>) =>
  keys.pipe(
    Stream.grouped(batchSize),
    Stream.mapEffect((batch) => Commands.exists(batch), { concurrency: 4 }),
    Stream.runSum
  )

export const program = Effect.gen(function* () {
  const rows = Stream.range(1, 100_000).pipe(Stream.map((n): Row => [`example:bulk:${n}`, `value ${n}`]))
  const sent = yield* load(rows)
  const found = yield* count(Stream.map(rows, ([key]) => key))
  return { sent, found }
})

if (import.meta.main) program.pipe(Effect.tap(Console.log), Effect.provide(RedisLive), NodeRuntime.runMain)

/**
 * Chat rooms on sharded channels: each room's messages go over the one node that has its slot, not over all of them.
 *
 * A room is a hash tag, so its channel and its history are on one node: a message is written to the history and published in
 * one transaction. When the slot moves or its node fails over, the subscription follows. What was published meanwhile did
 * not come, and the `Gap` says so: then the history is read again, from the last message that was seen.
 *
 *     REDIS_CLUSTER_NODES=redis://127.0.0.1:7000 node examples/cluster/chat.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { RedisCluster } from "@relive/cluster"
import { Redis } from "@relive/core"
import { Console, Deferred, Effect, Fiber, Schema, Stream } from "effect"

const channelOf = (room: string) => `example:chat:{${room}}`
const historyOf = (room: string) => `example:chat:{${room}}:history`

/** How much of a room is remembered. */
const KEPT = 1000

/** Says something: for all who listen, and for those who come later. */
export const say = (room: string, text: string) =>
  Redis.transaction([
    ["XADD", historyOf(room), "MAXLEN", "~", KEPT, "*", "text", text],
    ["SPUBLISH", channelOf(room), text]
  ])

const Entries = Schema.Array(Schema.Tuple([Schema.String, Schema.Tuple([Schema.String, Schema.String])]))

/** The messages after this entry. */
const since = (room: string, id: string) =>
  Redis.command(["XRANGE", historyOf(room), `(${id}`, "+"], { schema: Entries })

/** All that is said in a room from now on, whatever happens to its node: each message comes at least once. */
export const listen = (room: string) =>
  Stream.unwrap(
    Effect.sync(() => {
      let last = "0"
      const missed = Effect.map(since(room, last), (entries) => {
        last = entries.at(-1)?.[0] ?? last
        return entries.map(([, [, text]]) => text)
      })
      const lastNow = Effect.map(
        Redis.command(["XREVRANGE", historyOf(room), "+", "-", "COUNT", 1], { schema: Entries }),
        ([entry]) => {
          last = entry?.[0] ?? "0-0"
          return ["(you are in the room)"]
        }
      )
      return Redis.ssubscribe(channelOf(room)).pipe(
        Stream.mapEffect((event) => {
          switch (event._tag) {
            case "Subscribed":
              return lastNow
            case "Message":
              return Effect.succeed([event.payload])
            case "Gap":
              return Effect.succeed(["(wait a moment)"])
            case "Resubscribed":
              return missed
          }
        }),
        Stream.flatMap(Stream.fromIterable)
      )
    })
  )

export const program = Effect.gen(function* () {
  yield* Redis.command(["DEL", historyOf("lobby")])
  const inside = yield* Deferred.make<void>()
  const heard = yield* Effect.forkChild(
    listen("lobby").pipe(
      Stream.tap(() => Deferred.succeed(inside, undefined)),
      Stream.take(3),
      Stream.runCollect
    )
  )
  yield* Deferred.await(inside)
  yield* say("lobby", "is anybody here?")
  yield* say("lobby", "I am")
  return yield* Fiber.join(heard)
})

if (import.meta.main) {
  program.pipe(Effect.tap(Console.log), Effect.provide(RedisCluster.layerConfig()), NodeRuntime.runMain)
}

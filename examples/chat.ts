/**
 * A chat: everybody in a room hears what is said there, in any process.
 *
 * For what is worth something only to those who are there now. Nobody who comes later hears it, and a connection that was lost has
 * missed what was said meanwhile: here that is said in the room's place. What must arrive belongs into a stream, see
 * `consumer-group.ts`.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/chat.ts          two members in one process
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/chat.ts ann      one member: each line that is typed is said
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/chat.ts bob      … and heard in the other terminal
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Redis, RedisLive, type RedisPubSub } from "@relive/core"
import { Console, Deferred, Effect, Fiber, Schema, Stream } from "effect"
import * as Readline from "node:readline"

const Line = Schema.fromJsonString(Schema.Struct({ from: Schema.String, text: Schema.String }))

const channel = (room: string) => `example:chat:${room}`

/** Says something; succeeds with how many hear it. */
export const say = (room: string, from: string, text: string) =>
  Effect.flatMap(Effect.orDie(Schema.encodeEffect(Line)({ from, text })), (line) => Redis.publish(channel(room), line))

/** The messages of a room, as lines to show. The first line says that from now on all are heard. */
export const hear = (room: string) => Stream.map(Redis.subscribe(channel(room), { schema: Line }), shown)

const shown = (event: RedisPubSub.Event<typeof Line.Type>): string => {
  switch (event._tag) {
    case "Subscribed":
      return "(you are in the room)"
    case "Message":
      return `${event.payload.from}: ${event.payload.text}`
    case "Gap":
      return "(the connection was lost, or you were too slow: some of it you did not hear)"
    case "Resubscribed":
      return "(you are in the room again)"
  }
}

/** Says each line of the terminal, and shows what is heard, until the terminal is closed. */
const join = (room: string, name: string) => {
  const lines = Stream.fromAsyncIterable(Readline.createInterface({ input: process.stdin }), (error) => error)
  const saying = Stream.runForEach(lines, (text) => say(room, name, text))
  return Effect.raceFirst(saying, Stream.runForEach(hear(room), Console.log))
}

export const program = Effect.gen(function* () {
  const here = yield* Deferred.make<void>()
  const heard = yield* hear("hall").pipe(
    Stream.tap((line) => (line === "(you are in the room)" ? Deferred.succeed(here, undefined) : Effect.void)),
    Stream.take(3),
    Stream.runCollect,
    Effect.forkChild
  )
  yield* Deferred.await(here)
  yield* say("hall", "ann", "is anybody here?")
  yield* say("hall", "bob", "I am")
  return yield* Fiber.join(heard)
})

const [name] = process.argv.slice(2)

if (import.meta.main) {
  const run = name === undefined ? Effect.flatMap(program, Console.log) : join("hall", name)
  run.pipe(Effect.provide(RedisLive), NodeRuntime.runMain)
}

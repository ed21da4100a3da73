/**
 * What the tests of pub/sub share: a subscriber whose events are taken one by one, and what the server says of it.
 */
import { assert } from "@effect/vitest"
import type { RedisError, RedisPubSub } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

type AnyEvent = RedisPubSub.Event<unknown, RedisPubSub.Name>

/** Somebody who subscribes, in a fiber of the test's own. */
export interface Ear<E extends AnyEvent> {
  /** Takes the next event, or waits for it. */
  readonly next: Effect.Effect<E>
  /** The events that have come and were not taken. */
  readonly rest: Effect.Effect<ReadonlyArray<E>>
  /** Ends the subscription, and waits for its end. */
  readonly stop: Effect.Effect<void>
  /** How the stream ended. */
  readonly ended: Effect.Effect<Exit.Exit<void, RedisError.RedisError>>
}

export const listen = <E extends AnyEvent, R>(events: Stream.Stream<E, RedisError.RedisError, R>) =>
  Effect.gen(function* () {
    const queue = yield* Queue.unbounded<E>()
    const ended = yield* Deferred.make<Exit.Exit<void, RedisError.RedisError>>()
    const fiber = yield* events.pipe(
      Stream.runForEach((event) => Queue.offer(queue, event)),
      Effect.onExit((exit) => Deferred.succeed(ended, exit)),
      Effect.forkScoped({ startImmediately: true })
    )
    const ear: Ear<E> = {
      next: Queue.take(queue),
      rest: Queue.clear(queue),
      stop: Fiber.interrupt(fiber),
      ended: Deferred.await(ended)
    }
    return ear
  })

/** Waits for `Subscribed`, which is the first event. */
export const listenLive = <E extends AnyEvent, R>(events: Stream.Stream<E, RedisError.RedisError, R>) =>
  Effect.gen(function* () {
    const ear = yield* listen(events)
    assert.strictEqual((yield* ear.next)._tag, "Subscribed")
    return ear
  })

/** An event in short: its tag and what tells it from others. */
export const short = (event: AnyEvent): string => {
  switch (event._tag) {
    case "Message":
      return `${event.pattern === undefined ? "" : `${show(event.pattern)} `}${show(event.channel)}: ${show(event.payload)}`
    case "Gap":
      return `Gap ${event.reason}${event.dropped === undefined ? "" : ` ${event.dropped}`}`
    default:
      return `${event._tag} ${event.channels.map(show).join(" ")}`
  }
}

const show = (value: unknown): string => (value instanceof Uint8Array ? `<${[...value].join(" ")}>` : String(value))

/** The next events in short, as many as are asked for. */
export const take = <E extends AnyEvent>(ear: Ear<E>, count: number) =>
  Effect.map(Effect.all(Array.from({ length: count }, () => ear.next)), (events) => events.map(short))

/** What the server has of channels and patterns. */
export const known = Effect.gen(function* () {
  const server = yield* RedisServer.RedisServer
  const channels = yield* server.command(["PUBSUB", "CHANNELS"])
  const patterns = yield* server.command(["PUBSUB", "NUMPAT"])
  return { channels: Array.isArray(channels) ? channels.map(String).toSorted() : [], patterns }
})

/** Waits until the server has these channels, and so many patterns. */
export const awaitKnown = (
  channels: ReadonlyArray<string>,
  patterns = 0
): Effect.Effect<void, unknown, RedisServer.RedisServer> =>
  Effect.flatMap(known, (now) =>
    JSON.stringify(now) === JSON.stringify({ channels: [...channels].toSorted(), patterns })
      ? Effect.void
      : Effect.andThen(Effect.sleep(2), () => awaitKnown(channels, patterns))
  )

export const killSubscribers = Effect.flatMap(RedisServer.RedisServer, (server) =>
  server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
)

/**
 * Losses of a subscription of many channels, on a slow way to a server of its own: so there is time between the first and the last
 * channel that is subscribed again, and at times the next loss comes in the middle of them. A trial of its own.
 *
 * Whenever the subscription says that it is whole, a message is published at once, past the slow way, on the channel that is
 * subscribed last. It must come, or lie in a gap: a `Resubscribed` that comes early is told so.
 */
import { Redis, type RedisPubSub } from "@relive/core"
import { Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { common } from "./Settings.ts"
import type { Trials } from "./Trials.ts"

/** A server for each protocol, with the slow way to it. */
export type Servers = ReadonlyArray<{
  readonly protocol: 2 | 3
  readonly server: RedisServer.RedisServer
  readonly proxy: FaultProxy.FaultProxy
}>

/** Subscribing to all of them takes a quarter of a second. */
const names = Array.from({ length: 600 }, (_, i) => `resubscribe:${i}`)
const lastName = names.at(-1) ?? ""
const bytesOfAll = 24_000
const bytesPerSecond = 100_000

/** A gap is told that soon at the latest, when the server had nobody to send a message to. */
const toldWithinMillis = 4_000
const heardWithinMillis = 15_000

export const servers: Effect.Effect<Servers, RedisServer.RedisServerError, Scope.Scope> = Effect.forEach(
  [2, 3] as const,
  (protocol) =>
    Effect.gen(function* () {
      const server = yield* RedisServer.make()
      const proxy = yield* FaultProxy.make(server)
      yield* proxy.inject(Fault.throttle(bytesPerSecond, "toServer"))
      return { protocol, server, proxy }
    })
)

/** What became of a message: it came, it was lost in this gap, or neither within a long time. */
type Fate = RedisPubSub.Message | RedisPubSub.Gap | undefined

/** Loses the connection again and again. Never ends. */
const resubscribesOn = (
  { counted, onBroken, random }: Trials,
  { protocol, proxy, server }: Servers[number]
): Effect.Effect<never, unknown> =>
  Effect.gen(function* () {
    const events = yield* Queue.unbounded<RedisPubSub.Event>()
    const listen = Stream.runForEach(Redis.subscribe(names, { timeout: "infinite" }), (event) =>
      Queue.offer(events, event)
    )
    const ended = Effect.andThen(listen, Effect.die(new Error("the subscription has ended by itself")))
    let published = 0

    const fateOf = (payload: string): Effect.Effect<Fate> =>
      Effect.flatMap(Queue.take(events), (event) => {
        if (event._tag === "Gap" || (event._tag === "Message" && event.payload === payload))
          return Effect.succeed(event)
        return fateOf(payload)
      })

    const ask = Effect.gen(function* () {
      const payload = `${protocol}:${published++}`
      const receivers = yield* server.command(["PUBLISH", lastName, payload])
      const answeredAt = yield* Clock.currentTimeMillis
      const within = receivers === 0 ? toldWithinMillis : heardWithinMillis
      const fate = Option.getOrUndefined(yield* Effect.timeoutOption(fateOf(payload), within))
      if (fate === undefined) {
        onBroken(
          "missedOutsideGap",
          `${payload} was published when all channels were subscribed (again), and never came`
        )
      } else if (fate._tag === "Gap" && fate.since > answeredAt) {
        onBroken(
          "missedOutsideGap",
          `${payload} was answered at ${answeredAt} and missed; the gap is since ${fate.since}`
        )
      }
      return fate
    })

    const lose = Effect.gen(function* () {
      yield* Effect.sleep(random.integer(0, 200))
      // The next session, too, in the middle of its channels.
      if (random.chance(0.5)) {
        yield* proxy.inject(
          Fault.cut({ direction: "toServer", afterBytes: random.integer(1_000, bytesOfAll), times: 1 })
        )
      }
      yield* server.command(["CLIENT", "KILL", "TYPE", "pubsub"])
    })

    const next = Effect.gen(function* () {
      const event = yield* Queue.take(events)
      if (event._tag !== "Subscribed" && event._tag !== "Resubscribed") return
      // A gap that came meanwhile has its own end.
      if ((yield* ask)?._tag === "Gap") return
      yield* lose
      counted("resubscribe")
    })
    return yield* Effect.raceFirst(ended, Effect.forever(next))
  }).pipe(Effect.provide(Redis.layer({ ...common, port: proxy.port, protocol })))

/** On both ways at once. Never ends. */
export const resubscribes = (trials: Trials, servers: Servers): Effect.Effect<never, unknown> =>
  Effect.andThen(
    Effect.forEach(servers, (way) => resubscribesOn(trials, way), { concurrency: "unbounded" }),
    Effect.never
  )

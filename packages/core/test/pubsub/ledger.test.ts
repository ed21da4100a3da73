/**
 * Numbered messages under faults: each one that a subscription was not told lies in a gap that it was told, none comes twice,
 * and none out of order. The publishers reach the server past the faults.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisOptions, type RedisPubSub } from "@relive/core"
import { Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { eager } from "../behaviours/support.ts"
import { awaitKnown } from "./support.ts"
import { Ledger, Witness } from "./judge.ts"

class Publisher extends Redis.Tag<Publisher>()("test/Publisher") {}

const channels = ["c0", "c1", "c2", "c3"]

/** Publishes once on all channels. */
const publishOnce = (ledger: Ledger) =>
  Effect.gen(function* () {
    const sentAt = Date.now()
    const batch = channels.map((channel) => ({ channel, number: ledger.publish(channel, sentAt) }))
    const replies = yield* Effect.exit(
      Publisher.pipeline(batch.map(({ channel, number }) => ["PUBLISH", channel, `${number}:${"x".repeat(50)}`]))
    )
    if (replies._tag === "Failure") return
    const now = Date.now()
    batch.forEach(({ channel, number }, i) => {
      if (typeof replies.value[i] === "number") ledger.answered(channel, number, now)
    })
  })

/** Publishes, slowly, until a condition holds: what comes after something has come shows that it has. */
const publishUntil = (ledger: Ledger, done: () => boolean): Effect.Effect<void, never, Publisher> =>
  Effect.suspend(() =>
    done()
      ? Effect.void
      : Effect.andThen(Effect.andThen(publishOnce(ledger), Effect.sleep(50)), () => publishUntil(ledger, done))
  )

type Events = ReturnType<typeof Redis.subscribe>

interface Subscriber {
  readonly events: Events
  readonly channels: ReadonlyArray<string>
  /** How long it takes for each message, in milliseconds. */
  readonly takes?: number
}

const subscribers: ReadonlyArray<Subscriber> = [
  { events: Redis.subscribe(channels), channels },
  { events: Redis.subscribe("c0"), channels: ["c0"] },
  { events: Redis.psubscribe("c*"), channels },
  { events: Redis.subscribe(["c1", "c2"], { whenFull: "suspend", bufferMessages: 16 }), channels: ["c1", "c2"] },
  { events: Redis.subscribe(channels, { bufferMessages: 20 }), channels, takes: 5 },
  { events: Redis.subscribe(channels, { bufferMessages: 20, whenFull: "dropNewest" }), channels, takes: 5 }
]

const listen = ({ events, takes = 0 }: Subscriber, witness: Witness) =>
  Stream.runForEach(events, (event: RedisPubSub.Event) =>
    Effect.suspend(() => {
      witness.tell(event, Date.now())
      return takes > 0 && event._tag === "Message" ? Effect.sleep(takes) : Effect.void
    })
  )

/** Runs the faults while messages are published, then lets all come to rest, and judges. */
const trial = (
  options: RedisOptions.Options,
  faults: (proxy: FaultProxy.FaultProxy, server: RedisServer.RedisServer) => Effect.Effect<unknown, unknown>,
  /** The server does not hear of the end of a connection. */
  leavesSome = false
) =>
  Effect.gen(function* () {
    const server = yield* RedisServer.make()
    const proxy = yield* FaultProxy.make(server)
    const ledger = new Ledger()
    const witnesses = subscribers.map((subscriber) => ({ subscriber, witness: new Witness() }))
    yield* Effect.gen(function* () {
      const listening = yield* Effect.forEach(witnesses, ({ subscriber, witness }) =>
        Effect.forkScoped(listen(subscriber, witness), { startImmediately: true })
      )
      const allLive = (): boolean => witnesses.every(({ witness }) => witness.live)
      const whenLive: Effect.Effect<void> = Effect.suspend(() =>
        allLive() ? Effect.void : Effect.andThen(Effect.sleep(5), () => whenLive)
      )
      yield* whenLive
      const publishing = yield* Effect.forkScoped(
        Effect.forever(Effect.andThen(publishOnce(ledger), Effect.sleep(1))),
        {
          startImmediately: true
        }
      )
      yield* faults(proxy, server)
      yield* Effect.sleep(50)
      yield* whenLive
      yield* Effect.sleep(100)
      yield* Fiber.interrupt(publishing)
      const ends = ledger.ends
      yield* publishUntil(ledger, () =>
        witnesses.every(({ subscriber, witness }) => witness.hasReached(ends, subscriber.channels))
      )
      for (const fiber of listening) {
        assert.isUndefined(fiber.pollUnsafe())
        yield* Fiber.interrupt(fiber)
      }
    }).pipe(
      Effect.scoped,
      Effect.provide(Redis.layer({ port: proxy.port, ...eager, ...options })),
      Effect.provide(Publisher.layer({ port: server.port, ...eager, timeout: 500 }))
    )
    if (!leavesSome) yield* Effect.provideService(awaitKnown([]), RedisServer.RedisServer, server)
    let gaps = 0
    let delivered = 0
    for (const { subscriber, witness } of witnesses) {
      const findings = witness.judge(ledger, subscriber.channels)
      gaps += findings.gaps
      delivered += findings.delivered
      assert.deepStrictEqual(findings.missedOutsideGap.slice(0, 5), [], `${findings.missedOutsideGap.length} missed`)
      assert.deepStrictEqual(findings.deliveredTwice.slice(0, 5), [])
      assert.deepStrictEqual(findings.disorder.slice(0, 5), [])
    }
    assert.isAbove(gaps, 3)
    assert.isAbove(delivered, 100)
  })

describe("numbered messages", () => {
  for (const protocol of [2, 3] as const) {
    it.live(`under kills (RESP${protocol})`, () =>
      trial({ protocol }, (_, server) =>
        Effect.forEach(Array.from({ length: 10 }), () =>
          Effect.andThen(server.command(["CLIENT", "KILL", "TYPE", "pubsub"]), Effect.sleep(60))
        )
      )
    )

    it.live(`under cuts in the middle of everything (RESP${protocol})`, () =>
      trial({ protocol }, (proxy) =>
        Effect.forEach([10, 777, 5000, 123, 40_000, 2222], (afterBytes, index) =>
          Effect.gen(function* () {
            const cut = yield* proxy.inject(
              Fault.cut({ direction: "toClient", afterBytes, how: index % 2 === 0 ? "rst" : "fin", times: 2 })
            )
            yield* cut.awaitHit
            yield* Effect.sleep(60)
          })
        )
      )
    )

    it.live(`while the server restarts (RESP${protocol})`, () =>
      trial({ protocol }, (_, server) =>
        Effect.forEach([50, 150], (millis) =>
          Effect.gen(function* () {
            yield* Effect.sleep(100)
            yield* server.kill
            yield* Effect.sleep(millis)
            yield* server.start
            yield* Effect.sleep(100)
          })
        )
      )
    )

    it.live(`while the network is silent (RESP${protocol})`, () =>
      trial(
        { protocol, healthCheckInterval: 100, connectTimeout: 100 },
        (proxy) =>
          Effect.gen(function* () {
            yield* Effect.sleep(150)
            const hole = yield* proxy.inject(Fault.blackHole())
            yield* Effect.sleep(400)
            yield* hole.heal
            yield* Effect.sleep(250)
          }),
        true
      )
    )
  }
})

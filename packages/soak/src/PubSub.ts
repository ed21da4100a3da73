/**
 * Numbered messages: a publisher past the faults, and subscribers on every connection under soak. Each message that a subscription
 * was not told must lie in a gap that it was told, none may come twice or out of order, and when all is well again each must be told
 * again.
 *
 * A subscription is one run of the stream. When its connection closes the next one is made on the next connection.
 */
import { Redis, type RedisPubSub, RedisService } from "@relive/core"
import type { Service } from "@relive/core/RedisService"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { RedisServer } from "@relive/testing"
import type { Book } from "./Book.ts"
import type { Lane } from "./Lane.ts"

const channels = ["soak:ch:0", "soak:ch:1", "soak:ch:2"]

/** What one subscriber asks for; `takesMillis` for each message, so that its buffer overflows at times. */
interface Wish {
  readonly wanted: RedisPubSub.Wanted
  readonly options: RedisPubSub.SubscribeOptions
  readonly takesMillis: number
}

const all: RedisPubSub.Wanted = { kind: "channel", names: channels }

/** So many names that they are confirmed in several reads; those that are published on come last. */
const fillers = Array.from({ length: 2000 }, (_, i) => `soak:filler:${i}`)

/** For two of the connections, one of each protocol: it costs something. */
const many: Wish = {
  wanted: { kind: "channel", names: [...fillers, ...channels] },
  options: {},
  takesMillis: 0
}

const wishes: ReadonlyArray<Wish> = [
  { wanted: all, options: {}, takesMillis: 0 },
  { wanted: { kind: "pattern", names: ["soak:ch:*"] }, options: {}, takesMillis: 0 },
  { wanted: all, options: { bufferMessages: 16 }, takesMillis: 12 },
  { wanted: all, options: { bufferMessages: 16, whenFull: "suspend" }, takesMillis: 2 }
]

const TICK_MILLIS = 5
const NEXT_LIFE_MILLIS = 20
const HEARD_WITHIN_MILLIS = 15_000

/** Times are by the wall clock, as `since` is. */
interface Published {
  readonly sentAt: number
  /** `undefined` when nobody knows whether it was published. */
  answeredAt: number | undefined
}

interface Told {
  readonly event: RedisPubSub.Event
  readonly at: number
}

/** One subscription: what it was told, and where. */
class Run {
  readonly lane: Lane
  readonly told: Array<Told> = []
  ended = false

  constructor(lane: Lane) {
    this.lane = lane
  }

  /** The newest number of each channel that it was told. */
  newest(channel: string): number {
    for (let i = this.told.length - 1; i >= 0; i--) {
      const event = this.told[i]?.event
      if (event?._tag === "Message" && event.channel === channel) return Number(event.payload)
    }
    return -1
  }

  get isSubscribed(): boolean {
    return this.told.length > 0
  }
}

export class PubSub {
  private readonly book: Book
  private readonly published = new Map<string, Array<Published>>(channels.map((channel) => [channel, []]))
  private readonly runs: Array<Run> = []
  private over = false
  private readonly publisher: Service

  private constructor(book: Book, publisher: Service) {
    this.book = book
    this.publisher = publisher
  }

  /** The publisher's connection is there until the scope closes. */
  static readonly make = (book: Book, server: RedisServer.RedisServer): Effect.Effect<PubSub, never, Scope.Scope> =>
    Effect.gen(function* () {
      const { port, tls } = server
      const layer = Redis.layer({
        port,
        ...(tls === undefined ? {} : { tls: { ca: tls.ca } }),
        timeout: 500,
        backoffInitial: 20,
        backoffCap: 100
      })
      const context = yield* Effect.orDie(Effect.flatMap(Effect.scope, (scope) => Layer.buildWithScope(layer, scope)))
      return new PubSub(book, Context.get(context, RedisService))
    })

  /** Publishes and subscribes until it is interrupted. */
  readonly run = (lanes: ReadonlyArray<Lane>): Effect.Effect<never> =>
    Effect.scoped(
      Effect.gen({ self: this }, function* () {
        for (const lane of lanes) {
          for (const wish of wishes) yield* Effect.forkScoped(this.subscriber(lane, wish))
        }
        for (const lane of lanes.slice(0, 2)) yield* Effect.forkScoped(this.subscriber(lane, many))
        return yield* Effect.forever(Effect.andThen(this.publish, Effect.sleep(TICK_MILLIS)))
      })
    )

  private readonly publish = Effect.gen({ self: this }, function* () {
    const sentAt = yield* Clock.currentTimeMillis
    const batch = channels.map((channel) => {
      const list = this.published.get(channel) ?? []
      const message: Published = { sentAt, answeredAt: undefined }
      list.push(message)
      return { message, command: ["PUBLISH", channel, list.length - 1] }
    })
    const replies = yield* Effect.exit(this.publisher.pipeline(batch.map(({ command }) => command)))
    if (replies._tag === "Failure") return
    const now = yield* Clock.currentTimeMillis
    batch.forEach(({ message }, i) => {
      if (typeof replies.value[i] === "number") message.answeredAt = now
    })
  })

  /** Subscribes on each life of a connection. */
  private subscriber(lane: Lane, wish: Wish): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (!this.over) {
        const { life } = lane
        const run = new Run(lane)
        this.runs.push(run)
        const listen = Stream.runForEach(lane.service.subscribe(wish.wanted, wish.options), (event) =>
          Effect.flatMap(Clock.currentTimeMillis, (at) => {
            run.told.push({ event, at })
            return event._tag === "Message" && wish.takesMillis > 0 ? Effect.sleep(wish.takesMillis) : Effect.void
          })
        )
        yield* Effect.exit(listen)
        run.ended = true
        // The connection that has closed is there until the next one is.
        while (!this.over && lane.life === life && !lane.isReady) yield* Effect.sleep(NEXT_LIFE_MILLIS)
        yield* Effect.sleep(NEXT_LIFE_MILLIS)
      }
    })
  }

  /** All is well again: each subscription must be told what is published now. To be called while it runs. */
  readonly recovery: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    const ends = new Map([...this.published].map(([channel, list]) => [channel, list.length]))
    const live = this.runs.filter(({ ended, isSubscribed }) => !ended && isSubscribed)
    const hears = (run: Run) =>
      run.ended || channels.every((channel) => run.newest(channel) >= (ends.get(channel) ?? 0))
    const giveUpAt = this.book.history.now() + HEARD_WITHIN_MILLIS
    while (!live.every(hears) && this.book.history.now() < giveUpAt) yield* Effect.sleep(TICK_MILLIS)
    for (const run of live) {
      if (hears(run)) continue
      this.book.breaks(
        "missedOutsideGap",
        run.lane.name,
        `a subscriber hears nothing ${HEARD_WITHIN_MILLIS} ms after the last fault`
      )
    }
  })

  /** No more subscriptions after those of now. */
  end(): void {
    this.over = true
  }

  /** Compares what was told with what was published. To be called when all is over. */
  judge(): void {
    for (const run of this.runs) {
      const subscribedAt = run.told[0]?.at
      if (subscribedAt === undefined) continue
      for (const channel of channels) this.judgeChannel(run, channel, subscribedAt)
    }
  }

  private judgeChannel(run: Run, channel: string, subscribedAt: number): void {
    const published = this.published.get(channel) ?? []
    const seen = new Set<number>()
    const places: Array<{ readonly number: number; readonly index: number }> = []
    for (const [index, { event }] of run.told.entries()) {
      if (event._tag !== "Message" || event.channel !== channel) continue
      const number = Number(event.payload)
      const newest = places.at(-1)?.number ?? -1
      if (seen.has(number)) this.book.breaks("deliveredTwice", run.lane.name, `${channel} ${number} came twice`)
      else if (number < newest) {
        this.book.breaks("deliveredTwice", run.lane.name, `${channel} ${number} came behind ${newest}`)
      }
      seen.add(number)
      places.push({ number, index })
    }
    const newest = places.at(-1)?.number ?? -1
    let at = 0
    for (const [number, { answeredAt, sentAt }] of published.entries()) {
      // What was published last was on its way when it ended.
      if (number > newest) return
      // Times are whole milliseconds: in the same one it may have been published before.
      if (seen.has(number) || answeredAt === undefined || sentAt <= subscribedAt) continue
      while (at < places.length && (places[at]?.number ?? 0) < number) at++
      const before = places[at - 1]?.index ?? -1
      const after = places[at]?.index ?? run.told.length
      if (isExplained(run.told, before, after, sentAt, answeredAt)) continue
      this.book.breaks(
        "missedOutsideGap",
        run.lane.name,
        `${channel} ${number} of ${sentAt} was missed outside of a gap, ${sentAt - subscribedAt} ms after it was subscribed`
      )
    }
  }
}

/** Whether a gap between two places covers a message of that time. */
const isExplained = (
  told: ReadonlyArray<Told>,
  before: number,
  after: number,
  sentAt: number,
  answeredAt: number
): boolean => {
  // A gap that is open still: some names were confirmed again, and lost again, before all were.
  const opened = told.slice(0, before + 1).findLastIndex(({ event }) => event._tag !== "Message" && !isOverflow(event))
  for (let index = Math.max(0, opened); index < after; index++) {
    const event = told[index]?.event
    if (event?._tag !== "Gap" || answeredAt < event.since) continue
    if (event.reason === "overflow") return true
    const end = told.slice(index).find(({ event }) => event._tag === "Resubscribed")
    if (end === undefined || sentAt <= end.at) return true
  }
  return false
}

const isOverflow = (event: RedisPubSub.Event): boolean => event._tag === "Gap" && event.reason === "overflow"

/**
 * One single connection under soak, with a fault proxy of its own before the server: so each has faults and outages of its
 * own, while the others go on. It is closed and made anew from time to time, with calls under way.
 */
import { Redis, RedisService } from "@relive/core"
import type * as RedisOptions from "@relive/core/RedisOptions"
import type { Service, Status, StatusChange } from "@relive/core/RedisService"
import type { FaultProxy } from "@relive/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { History } from "./History.ts"
import { closeTimeoutMillis } from "./Settings.ts"

/** What a connection was doing at a moment. */
export interface Glance {
  readonly isDown: boolean
  readonly life: number
  readonly sessions: number
}

/** The deadline of a close, with what the supervisor of the session and a late event loop may add. */
const closeLimitMillis = closeTimeoutMillis + 4_000

export class Lane {
  readonly name: string
  readonly proxy: FaultProxy.FaultProxy
  /** The one of now; after a close the closed one, until the next is there. */
  service: Service
  /** How often a ready session has ended. */
  endings = 0
  /** Why the last of them has. */
  lastEnd = ""
  longestOutageMillis = 0
  /** When the shared connection last answered a call. */
  answeredAt = 0
  /** Reads written again, by the connections before this one. */
  private repeatedBefore = 0
  /** How many connections there were. */
  life = 0
  private downSince: number | undefined = undefined
  private faults = 0
  private disturbedAt = 0
  private readonly history: History
  private readonly options: RedisOptions.Options
  private close: Effect.Effect<boolean> = Effect.succeed(true)

  private constructor(
    name: string,
    options: RedisOptions.Options,
    proxy: FaultProxy.FaultProxy,
    history: History,
    first: Service
  ) {
    this.name = name
    this.proxy = proxy
    this.options = options
    this.history = history
    this.service = first
  }

  /** Opens the first connection. */
  static readonly make = (
    name: string,
    options: RedisOptions.Options,
    proxy: FaultProxy.FaultProxy,
    history: History
  ): Effect.Effect<Lane> =>
    Effect.gen(function* () {
      const lane = new Lane(name, { ...options, host: proxy.host, port: proxy.port }, proxy, history, absent)
      yield* lane.open
      return lane
    })

  /** Makes the next connection. */
  readonly open: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    const scope = yield* Scope.make()
    const context = yield* Effect.orDie(Layer.buildWithScope(Redis.layer(this.options), scope))
    const service = Context.get(context, RedisService)
    const watcher = yield* Effect.forkDetach(
      Stream.runForEach(service.events, (change) => this.changed(change)),
      {
        startImmediately: true
      }
    )
    this.service = service
    this.life++
    this.close = Effect.gen({ self: this }, function* () {
      this.disturb("closes")
      this.repeatedBefore += this.status().repeated
      const closed = yield* Effect.timeoutOption(Scope.close(scope, Exit.void), closeLimitMillis)
      yield* Fiber.interrupt(watcher)
      this.disturb(closed._tag === "Some" ? "is closed" : "has not closed in time")
      this.downSince = undefined
      return closed._tag === "Some"
    })
  })

  /** Closes the connection, whatever is under way; `false` if that did not end in time. */
  readonly shut: Effect.Effect<boolean> = Effect.suspend(() => this.close)

  /** How many reads were written again. To be asked after the close. */
  get readsRepeated(): number {
    return this.repeatedBefore
  }

  status(): Status {
    return Effect.runSync(this.service.status)
  }

  get isReady(): boolean {
    return this.status().state === "ready"
  }

  glance(): Glance {
    const { sessions, state } = this.status()
    return { isDown: state === "backoff", life: this.life, sessions }
  }

  /** Still down, without so much as a dial since then. */
  isAsAt(before: Glance): boolean {
    const { isDown, life, sessions } = this.glance()
    return isDown && life === before.life && sessions === before.sessions
  }

  /** Something happens to it from outside, until `calm`. */
  trouble(what: string): void {
    this.faults++
    this.disturb(what)
  }

  calm(what: string): void {
    this.faults--
    this.disturb(what)
  }

  private disturb(what: string): void {
    this.disturbedAt = this.history.now()
    this.history.add(this.name, what)
  }

  /** Nothing has happened to it since shortly before this time. */
  wasQuietSince(time: number): boolean {
    return this.faults === 0 && this.disturbedAt < time - 500
  }

  private changed(change: StatusChange): Effect.Effect<void> {
    return Effect.sync(() => {
      const now = this.history.now()
      const why = change.cause === undefined ? "" : `: ${change.cause.message}`
      this.disturb(`${change.previous} → ${change.state}${why.slice(0, 160)}`)
      const ended = change.previous === "ready" && change.state !== "draining" && change.state !== "closed"
      if (ended) {
        this.endings++
        const reason = change.cause?.reason
        this.lastEnd = reason?._tag === "ConnectionError" ? reason.kind : ""
        this.downSince = now
      }
      if (change.state !== "ready" || this.downSince === undefined) return
      this.longestOutageMillis = Math.max(this.longestOutageMillis, now - this.downSince)
      this.downSince = undefined
    })
  }
}

/** Before the first connection there is none. */
const absent: Service = {
  command: () => Effect.die("no connection yet"),
  pipeline: () => Effect.die("no connection yet"),
  transaction: () => Effect.die("no connection yet"),
  noreply: () => Effect.die("no connection yet"),
  lease: Effect.die("no connection yet"),
  timeoutMillis: 0,
  status: Effect.die("no connection yet"),
  events: Stream.empty
}

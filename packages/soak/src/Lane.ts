/**
 * One connection under soak, or one pool, with a fault proxy of its own before the server: so each has faults and outages of its
 * own, while the others go on. It is closed and made again from time to time, with calls under way.
 */
import { Redis, RedisService } from "@relive/core"
import type { RedisError } from "@relive/core/RedisError"
import type { ConnectionState, Service, Status, StatusChange } from "@relive/core/RedisService"
import { RedisPool } from "@relive/pool"
import type { FaultProxy } from "@relive/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { History } from "./History.ts"
import { CLOSE_TIMEOUT_MILLIS, type Connection } from "./Settings.ts"

/** The activity of a connection at a moment. */
export interface Glance {
  readonly isDown: boolean
  readonly life: number
  readonly sessions: number
}

/** A session of it has changed its state. */
interface SessionChange {
  readonly previous: ConnectionState
  readonly state: ConnectionState
  readonly cause: RedisError | undefined
}

/** The parts that are made again with each life. */
interface Opened {
  readonly service: Service
  readonly sessions: Stream.Stream<SessionChange>
}

/** The deadline of a close, with what the supervisor of the session and a late event loop may add. */
const closeLimitMillis = CLOSE_TIMEOUT_MILLIS + 10_000

export class Lane {
  readonly name: string
  readonly proxy: FaultProxy.FaultProxy
  /** The one of now; after a close the closed one, until the next is there. */
  service: Service
  /** The number of ready sessions that have ended. */
  endings = 0
  /** Why and when the last of them has. */
  lastEnd = { kind: "", at: 0 }
  longestOutageMillis = 0
  /** When a call last had its reply on the shared connection. */
  answeredAt = 0
  /** Reads written again, by the connections before this one. */
  private repeatedBefore = 0
  /** The number of connections so far. */
  life = 0
  private downSince: number | undefined = undefined
  private faults = 0
  private disturbedAt = 0
  private readonly history: History
  private readonly connection: Connection
  private close: Effect.Effect<boolean> = Effect.succeed(true)

  private constructor(connection: Connection, proxy: FaultProxy.FaultProxy, history: History) {
    this.name = connection.name
    this.connection = connection
    this.proxy = proxy
    this.history = history
    this.service = absent
  }

  /** Opens the first connection. */
  static readonly make = (
    connection: Connection,
    proxy: FaultProxy.FaultProxy,
    history: History
  ): Effect.Effect<Lane> => {
    const lane = new Lane(connection, proxy, history)
    return Effect.as(lane.open, lane)
  }

  /** Makes the next connection. */
  readonly open: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    const scope = yield* Scope.make()
    const { service, sessions } = yield* Effect.orDie(Scope.provide(this.dialled, scope))
    const watch = <A>(changes: Stream.Stream<A>, onChange: (change: A) => void) =>
      Effect.forkDetach(
        Stream.runForEach(changes, (change) => Effect.sync(() => onChange(change))),
        { startImmediately: true }
      )
    const watchers = [
      yield* watch(service.events, (change) => this.changed(change)),
      yield* watch(sessions, (change) => this.sessionChanged(change))
    ]
    this.service = service
    this.life++
    this.close = Effect.gen({ self: this }, function* () {
      this.disturb("closes")
      this.repeatedBefore += this.status().repeated
      const closed = yield* Effect.timeoutOption(Scope.close(scope, Exit.void), closeLimitMillis)
      yield* Fiber.interruptAll(watchers)
      this.disturb(closed._tag === "Some" ? "is closed" : "has not closed in time")
      this.downSince = undefined
      return closed._tag === "Some"
    })
  })

  private get dialled(): Effect.Effect<Opened, RedisError, Scope.Scope> {
    const { name, options, size } = this.connection
    const { host, port } = this.proxy
    const all = { ...options, name, host, port }
    if (size === undefined) {
      const built = Effect.flatMap(Effect.scope, (scope) => Layer.buildWithScope(Redis.layer(all), scope))
      return Effect.map(built, (context) => {
        const service = Context.get(context, RedisService)
        return { service, sessions: service.events }
      })
    }
    return Effect.map(RedisPool.make({ ...all, size, moveAfter: 20, stagger: 5 }), ({ events, service }) => ({
      service,
      sessions: Stream.filter(events, (event) => event._tag === "MemberChanged")
    }))
  }

  /** Closes the connection, whatever is under way; `false` if that did not end in time. */
  readonly shut: Effect.Effect<boolean> = Effect.suspend(() => this.close)

  /** The number of reads that were written again. To be read after the close. */
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

  /** As a whole: how long it is down. */
  private changed(change: StatusChange): void {
    const now = this.history.now()
    if (hasEnded(change)) this.downSince = now
    if (change.state !== "ready" || this.downSince === undefined) return
    this.longestOutageMillis = Math.max(this.longestOutageMillis, now - this.downSince)
    this.downSince = undefined
  }

  /** One of its sessions. */
  private sessionChanged(change: SessionChange): void {
    const why = change.cause === undefined ? "" : `: ${change.cause.message}`
    this.disturb(`${change.previous} → ${change.state}${why.slice(0, 160)}`)
    if (!hasEnded(change)) return
    this.endings++
    const reason = change.cause?.reason
    this.lastEnd = { kind: reason?._tag === "ConnectionError" ? reason.kind : "", at: this.history.now() }
  }
}

const hasEnded = ({ previous, state }: SessionChange): boolean =>
  previous === "ready" && state !== "ready" && state !== "draining" && state !== "closed"

/** Before the first connection there is none. */
const absent: Service = {
  command: () => Effect.die("no connection yet"),
  pipeline: () => Effect.die("no connection yet"),
  transaction: () => Effect.die("no connection yet"),
  noreply: () => Effect.die("no connection yet"),
  lease: () => Effect.die("no connection yet"),
  subscribe: () => Stream.die("no connection yet"),
  timeoutMillis: 0,
  status: Effect.die("no connection yet"),
  events: Stream.empty
}

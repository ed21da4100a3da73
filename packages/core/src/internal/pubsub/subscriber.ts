/**
 * A connection for pub/sub, as its subscriptions see it: who wants what, who is told what comes, and when it is not needed any
 * more. The connection itself is an ordinary one, whose sessions have a `Feed`: that takes the frames that are no replies.
 *
 * ```
 *   subscriptions ──want──▶ Subscriptions (wanted, confirmed) ──reconcile──▶ session ──▶ server
 *        ▲                                                                                 │
 *        └── flush ◀── inboxes ◀── audiences ◀── take: a message, an acknowledgement ◀─────┘
 * ```
 *
 * Messages are put into the inboxes while an array of frames is dispatched, and the fibers that read them are resumed when all
 * of it is in. So no subscriber's code runs in the middle of it, and none can hold up what another one is told.
 *
 * @internal
 */
import { isUtf8 } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TimeoutError } from "../../RedisError.ts"
import type { RedisError } from "../../RedisError.ts"
import type { Kind, Name } from "../../RedisPubSub.ts"
import type { Answer, ReplyReducer } from "../call/call.ts"
import { Call, INTERNAL } from "../call/call.ts"
import { encoder } from "../call/encoding.ts"
import { failureOf } from "../connection/connection.ts"
import type { Connection } from "../connection/connection.ts"
import type { Inbound, Session } from "../connection/session.ts"
import { connectionError, failure } from "../errors.ts"
import { ArgumentFailure } from "../resp/encoder.ts"
import { Push, ReplyError, ReplyFailure } from "../resp/model.ts"
import { redactQuotedArguments } from "../commands/redaction.ts"
import type { Decoded } from "../transport/wire.ts"
import { sessionEnd } from "../transport/sessionEnd.ts"
import type { SessionEnd } from "../transport/sessionEnd.ts"
import { queueMicrotask, setImmediate } from "../turns.ts"
import { Audiences } from "./audience.ts"
import { Delivery } from "./batch.ts"
import { verbs } from "./names.ts"
import { Subscriptions } from "./subscriptions.ts"
import type { Change, Topic } from "./subscriptions.ts"
import type { Host, Subscription } from "./subscription.ts"

/** One write of subscribes and unsubscribes. `at` is the next of them to be acknowledged. */
class Changes implements ReplyReducer<void> {
  readonly changes: ReadonlyArray<Change<Subscription>>
  at = 0

  constructor(changes: ReadonlyArray<Change<Subscription>>) {
    this.changes = changes
  }

  get next(): Change<Subscription> | undefined {
    return this.changes[this.at]
  }

  /** An acknowledgement comes as `null`. Any other text is a reply to something else. */
  readonly onReply = (call: Call, reply: Answer): Exit.Exit<void> | undefined => {
    call.broken ||= reply !== null && !(reply instanceof ReplyError)
    return call.received === call.expected ? Exit.void : undefined
  }
}

interface EventKind {
  readonly kind: Kind
  readonly what: "message" | "joined" | "left"
}

const message: EventKind = { kind: "channel", what: "message" }

/** Of the events of both protocols, by their first element. */
const eventKinds: ReadonlyMap<unknown, EventKind> = new Map([
  ["message", message],
  ["pmessage", { kind: "pattern", what: "message" }],
  ["smessage", { kind: "shard", what: "message" }],
  ["subscribe", { kind: "channel", what: "joined" }],
  ["psubscribe", { kind: "pattern", what: "joined" }],
  ["ssubscribe", { kind: "shard", what: "joined" }],
  ["unsubscribe", { kind: "channel", what: "left" }],
  ["punsubscribe", { kind: "pattern", what: "left" }],
  ["sunsubscribe", { kind: "shard", what: "left" }]
])

/** A part of an event as a name: text where it is UTF-8. In RESP2 all parts are bytes. */
const partOf = (value: unknown): unknown =>
  value instanceof Uint8Array && isUtf8(value)
    ? Buffer.from(value.buffer, value.byteOffset, value.length).toString("utf8")
    : value

/** In RESP2 a connection with subscriptions replies with an event. */
const isPong = (reply: Answer): boolean => reply === "PONG" || (Array.isArray(reply) && partOf(reply[0]) === "pong")

const isName = (value: unknown): value is Name => typeof value === "string" || value instanceof Uint8Array

/** Waking one costs some microseconds, and what its own code does. */
const WAKES_IN_A_TURN = 1024

export interface SubscriberOptions {
  /** The child's id. */
  readonly id: string
  /** How long it is kept without subscriptions, in milliseconds. */
  readonly idleMillis: number
  /** Set for a connection of one subscription's own: it is not read while that one's buffer is full. */
  readonly only: Subscription | undefined
}

export class Subscriber {
  readonly options: SubscriberOptions
  readonly set = new Subscriptions<Subscription>()
  private readonly audiences = new Audiences()
  private readonly subscriptions = new Set<Subscription>()
  /** Those with a deadline, until it has passed. */
  private readonly pressed = new Set<Subscription>()
  private connection: Connection | undefined = undefined
  private feed: Feed | undefined = undefined
  /** Why it takes no more subscriptions. */
  private closed: Exit.Exit<never, RedisError> | undefined = undefined
  private retired = false
  /** Those that are to be woken, from `nextAwake` on. */
  private awake: Array<Subscription> = []
  private nextAwake = 0
  /** More of them are woken in the next turn. */
  private goesOn = false
  private onAllAwake: (() => void) | undefined = undefined
  private reconciling = false
  /** Whether a subscriber is to have a turn before more comes. */
  crowded = false
  private onCount: (() => void) | undefined = undefined

  private readonly host: Host = {
    wake: (subscription) => this.awake.push(subscription),
    crowd: () => {
      this.crowded = true
    },
    failed: (subscription) => this.remove(subscription)
  }

  constructor(options: SubscriberOptions) {
    this.options = options
  }

  // --------------------------------------------------------------------------------------------------------- subscriptions

  /** Whether it takes subscriptions. */
  get open(): boolean {
    return this.closed === undefined && !this.retired
  }

  /** The number of subscriptions. */
  get size(): number {
    return this.subscriptions.size
  }

  /** Adds a subscription. One that is refused is told by the end of its stream. */
  add(subscription: Subscription): void {
    subscription.attach(this.host)
    const refused = this.closed ?? this.connection?.refusing
    if (refused !== undefined) return subscription.end(refused)
    this.subscriptions.add(subscription)
    if (subscription.deadline !== Infinity) this.pressed.add(subscription)
    for (const name of subscription.names) {
      subscription.topics.push(this.set.want(subscription.wanted.kind, name, subscription))
    }
    if (subscription.missing === 0) subscription.confirmed()
    this.changed()
    this.onCount?.()
  }

  remove(subscription: Subscription): void {
    if (!this.subscriptions.delete(subscription)) return
    this.pressed.delete(subscription)
    for (const topic of subscription.topics) this.set.unwant(topic, subscription)
    subscription.topics = []
    this.changed()
    this.onCount?.()
  }

  /** It ends by itself, and what it wants is wanted no more. */
  private fail(subscription: Subscription, exit: Exit.Exit<never, RedisError>): void {
    subscription.end(exit)
    this.remove(subscription)
  }

  /** Ends those that have waited for their first confirmation for too long. Returns when to look again. */
  sweep(now: number): number {
    let next = Infinity
    for (const subscription of this.pressed) {
      if (!subscription.isWaiting) this.pressed.delete(subscription)
      else if (now < subscription.deadline) next = Math.min(next, subscription.wakeBy)
      else this.fail(subscription, failure(this.tooLate(subscription)))
    }
    // Not inside of the sweep: it runs the code of subscribers.
    if (this.awake.length > 0) queueMicrotask(() => this.flush())
    return next
  }

  private tooLate({ timeoutMillis, wanted }: Subscription): TimeoutError {
    const command = verbs[wanted.kind].subscribe
    if (this.feed !== undefined) {
      return new TimeoutError({ phase: "written", delivery: "unknown", command, timeoutMillis })
    }
    const error = this.connection?.status.lastError
    const lastFailure = error === undefined ? {} : { lastFailure: failureOf(error) }
    return new TimeoutError({ phase: "queued", delivery: "unsent", command, timeoutMillis, ...lastFailure })
  }

  /** Ends when it has been without subscriptions for as long as it is kept; takes no more then. */
  readonly idle: Effect.Effect<void> = Effect.suspend(() => {
    const unused = Effect.delay(
      Effect.sync(() => this.retire()),
      this.options.idleMillis
    )
    const step: Effect.Effect<boolean> =
      this.size > 0
        ? Effect.as(this.counted(false), false)
        : Effect.raceFirst(unused, Effect.as(this.counted(true), false))
    return Effect.flatMap(step, (isOver) => (isOver ? Effect.void : this.idle))
  })

  private retire(): boolean {
    if (this.size > 0) return false
    this.retired = true
    return true
  }

  /** Waits until there are subscriptions, or none. */
  private counted(some: boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const look = (): void => {
        if (this.size > 0 === some) resume(Effect.void)
      }
      this.onCount = look
      look()
      return Effect.sync(() => {
        this.onCount = undefined
      })
    })
  }

  // ------------------------------------------------------------------------------------------------------------ connection

  /** A connection for it has started. */
  attach(connection: Connection): void {
    this.connection = connection
  }

  /** Makes the feed that takes the frames of a session. */
  feedFor(session: Session, connection: Connection): Feed {
    return new Feed(this, session, connection)
  }

  ready(feed: Feed): void {
    // One that was killed may have left without a word.
    if (this.feed !== undefined) this.lost(this.feed, noWord(this.feed.address))
    this.feed = feed
    this.reconcile()
  }

  lost(feed: Feed, cause: RedisError): void {
    if (this.feed === feed) {
      this.feed = undefined
      this.set.reset()
      for (const subscription of this.subscriptions) subscription.lost(feed.provenAt, cause)
    }
    const { refusing } = feed.connection
    if (refusing !== undefined) this.refuse(refusing)
    this.flush()
  }

  /** The server will have nobody: those who were never subscribed are told, the others wait on. */
  private refuse(refusing: Exit.Exit<never, RedisError>): void {
    for (const subscription of [...this.subscriptions]) {
      if (subscription.phase === "waiting") this.fail(subscription, refusing)
    }
  }

  /** Everybody is told that there is no more. */
  close(error: RedisError): void {
    const closed = (this.closed ??= Exit.fail(error))
    for (const subscription of [...this.subscriptions]) {
      subscription.lost(this.feed?.provenAt ?? 0, error)
      this.fail(subscription, closed)
    }
    this.flush()
  }

  // ----------------------------------------------------------------------------------------------------------- the server

  /** Writes the changes of the wanted names. Those of one turn are written together. */
  private changed(): void {
    if (this.feed === undefined || this.reconciling) return
    this.reconciling = true
    queueMicrotask(() => {
      this.reconciling = false
      this.reconcile()
    })
  }

  reconcile(): void {
    const feed = this.feed
    if (feed === undefined) return
    const changes = this.set.reconcile()
    if (changes.length > 0) feed.write(changes)
  }

  acknowledged(topic: Topic<Subscription>, joined: boolean): void {
    this.set.acknowledged(topic, joined)
    this.changed()
  }

  refused(feed: Feed, topic: Topic<Subscription>, error: ReplyError): void {
    // A subscription survives an error that passes: the next session is ready when it has passed.
    if (passes.has(error.code) && [...topic.members].some(({ phase }) => phase === "gap")) return feed.giveUp(error)
    const command = verbs[topic.kind].subscribe
    const told = failure(
      new ReplyError({ code: error.code, message: redactQuotedArguments(error.message, command), command })
    )
    for (const subscription of this.set.refused(topic)) this.fail(subscription, told)
    this.changed()
  }

  /** The server took a name from us that we had not given up. */
  taken(feed: Feed, topic: Topic<Subscription>): void {
    this.set.acknowledged(topic, false)
    const cause = connectionError(
      { kind: "disconnected", address: feed.address, detail: "the server has ended a subscription by itself" },
      "unsent"
    )
    for (const subscription of topic.members) subscription.lost(feed.provenAt, cause)
    this.changed()
  }

  deliver(topic: Topic<Subscription>, delivery: Delivery): void {
    if (topic.members.size > 0) this.audiences.deliver(topic, delivery)
  }

  /** A message came that could not be read: nobody knows whose it was. */
  skipped(feed: Feed): void {
    for (const subscription of this.subscriptions) subscription.skipped(feed.provenAt)
  }

  /** Resumes the subscribers that were told something: so many in a turn, so that they hold up nobody. Their code runs in here. */
  flush(): void {
    this.audiences.closeAll()
    if (!this.goesOn) this.wakeUp(WAKES_IN_A_TURN)
  }

  private wakeUp(most: number): void {
    for (let left = most; left > 0; left--) {
      const subscription = this.awake[this.nextAwake]
      if (subscription === undefined) return this.allAwake()
      this.nextAwake++
      subscription.wake()
    }
    this.awake = this.awake.slice(this.nextAwake)
    this.nextAwake = 0
    if (this.awake.length === 0) return this.allAwake()
    this.goesOn = true
    setImmediate(() => {
      this.goesOn = false
      this.wakeUp(WAKES_IN_A_TURN)
    })
  }

  private allAwake(): void {
    this.awake = []
    this.nextAwake = 0
    this.onAllAwake?.()
  }

  /** A turn for those whose buffer is full: they have been woken after it. */
  readonly turn: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.goesOn) return Effect.yieldNow
    return Effect.callback<void>((resume) => {
      this.onAllAwake = () => {
        this.onAllAwake = undefined
        resume(Effect.yieldNow)
      }
      return Effect.sync(() => {
        this.onAllAwake = undefined
      })
    })
  })
}

/** Refusals that the server will not repeat for long. */
const passes: ReadonlySet<string> = new Set(["BUSY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"])

const noWord = (address: string): RedisError =>
  connectionError({ kind: "disconnected", address, detail: "the session was ended" }, "unsent")

/** The server does not say why it closes a connection, and this is the reason that only subscribers meet. */
const likelyLimit =
  "; when it was not restarted or told to (CLIENT KILL), more was published than its client-output-buffer-limit for pubsub lets wait for a subscriber"

/** Takes what comes in on a session of a subscriber's connection. */
export class Feed implements Inbound {
  readonly connection: Connection
  /** No message published before this moment is missing, in milliseconds since the epoch. */
  provenAt = 0
  private readonly subscriber: Subscriber
  private readonly session: Session
  private live = false

  constructor(subscriber: Subscriber, session: Session, connection: Connection) {
    this.subscriber = subscriber
    this.session = session
    this.connection = connection
  }

  get address(): string {
    return this.connection.address
  }

  // ---------------------------------------------------------------------------------------------------------------- life

  ready(): void {
    this.live = true
    this.subscriber.ready(this)
  }

  ended(end: SessionEnd): void {
    this.live = false
    const { cause, closedByPeer, kind } = end
    const detail = closedByPeer === true ? end.detail + likelyLimit : end.detail
    this.subscriber.lost(this, connectionError({ kind, address: this.address, detail, cause }, "unsent"))
  }

  /** The session is of no use now. */
  giveUp({ message }: ReplyError): void {
    const detail = `the server cannot subscribe now: ${redactQuotedArguments(message, "SUBSCRIBE")}`
    const end = sessionEnd({ kind: "connect", detail, permanent: false })
    // Not inside of the dispatch, which is in the middle of its state.
    queueMicrotask(() => this.session.die(end))
  }

  // -------------------------------------------------------------------------------------------------------------- writing

  write(changes: ReadonlyArray<Change<Subscription>>): void {
    const commands = changes.map(({ subscribes, topic }) => {
      const { subscribe, unsubscribe } = verbs[topic.kind]
      return [subscribes ? subscribe : unsubscribe, topic.name]
    })
    const payload = encoder.encodeAll(commands)
    // The names were checked when they were asked for.
    if (payload instanceof ArgumentFailure) throw new Error(payload.message)
    const { healthCheckIntervalMillis } = this.connection.options
    this.session.submitInternal(
      new Call<void>(
        payload,
        commands.length,
        encoder.bytes,
        "SUBSCRIBE",
        INTERNAL,
        new Changes(changes),
        commands.length,
        healthCheckIntervalMillis,
        this.connection.now(),
        () => {}
      )
    )
  }

  /**
   * The reply of `PING`. It proves that everything before it has come: what was published before it was asked for. An error proves
   * nothing, as it may be a line that somebody said out of turn; anything else shows that replies have moved.
   */
  readonly onReply = (call: Call, reply: Answer): Exit.Exit<void> => {
    if (isPong(reply)) this.proven(call)
    else call.broken = !(reply instanceof ReplyError)
    return Exit.void
  }

  private proven(call: Call): void {
    const { clock } = this.connection
    // One less, as all three are whole milliseconds: never later than it was.
    this.provenAt = clock.currentTimeMillisUnsafe() - (this.connection.now() - call.writtenAt) - 1
  }

  // -------------------------------------------------------------------------------------------------------------- reading

  take(frame: Decoded, oldest: Call | undefined): Answer | undefined {
    if (frame instanceof Push) {
      if (frame.failure === undefined) return this.event(frame.data, oldest, undefined)
      this.subscriber.skipped(this)
      return undefined
    }
    if (!this.live) return frame
    if (frame instanceof ReplyError) {
      this.refusal(frame, oldest)
      return frame
    }
    if (frame instanceof ReplyFailure && this.session.protocol === 2) {
      this.subscriber.skipped(this)
      return undefined
    }
    return Array.isArray(frame) && this.session.protocol === 2 ? this.event(frame, oldest, frame) : frame
  }

  /** An event of either protocol; `other` is what is returned of what is none. */
  private event(data: ReadonlyArray<unknown>, oldest: Call | undefined, other: Answer | undefined): Answer | undefined {
    const word = partOf(data[0])
    // Most of them are messages, and to compare is cheaper than to look up.
    const known = word === "message" ? message : eventKinds.get(word)
    if (known === undefined) return other
    const name = partOf(data[1])
    if (!isName(name)) return undefined
    if (known.what !== "message") return this.acknowledgement(known.kind, name, known.what === "joined", oldest)
    const topic = this.subscriber.set.get(known.kind, name)
    if (topic === undefined) return undefined
    if (known.kind !== "pattern") {
      this.subscriber.deliver(topic, new Delivery(topic.name, undefined, partOf(data[2]), this.provenAt))
      return undefined
    }
    const channel = partOf(data[2])
    if (isName(channel))
      this.subscriber.deliver(topic, new Delivery(channel, topic.name, partOf(data[3]), this.provenAt))
    return undefined
  }

  private acknowledgement(kind: Kind, name: Name, joined: boolean, oldest: Call | undefined): null | undefined {
    const topic = this.subscriber.set.get(kind, name)
    const asked = oldest?.reducer
    if (oldest !== undefined && asked instanceof Changes) {
      const next = asked.next
      if (next !== undefined && next.topic === topic && next.subscribes === joined) {
        asked.at++
        this.proven(oldest)
        this.subscriber.acknowledged(topic, joined)
        return null
      }
    }
    // The server gives and takes by itself, as when the slot of a sharded channel is moved.
    if (topic !== undefined && !joined && topic.state === "in") this.subscriber.taken(this, topic)
    return undefined
  }

  private refusal(error: ReplyError, oldest: Call | undefined): void {
    const asked = oldest?.reducer
    if (!(asked instanceof Changes)) return
    const next = asked.next
    asked.at++
    if (next !== undefined) this.subscriber.refused(this, next.topic, error)
  }

  flush(): void {
    this.subscriber.flush()
  }

  get crowded(): boolean {
    return this.subscriber.crowded
  }

  /** One whose buffer is full is given a turn; where it has a connection of its own it is waited for. */
  get turn(): Effect.Effect<void> {
    this.subscriber.crowded = false
    const { only } = this.subscriber.options
    return only === undefined ? this.subscriber.turn : this.released(only)
  }

  private released(only: Subscription): Effect.Effect<void> {
    return Effect.callback((resume) => {
      this.session.resting = true
      const look = (): void => {
        if (only.inbox.full && only.ended === undefined) return
        only.onTaken = undefined
        this.session.rested()
        // Not inside of the subscriber's own step.
        queueMicrotask(() => resume(Effect.void))
      }
      only.onTaken = look
      look()
      return Effect.sync(() => {
        only.onTaken = undefined
        this.session.rested()
      })
    })
  }
}

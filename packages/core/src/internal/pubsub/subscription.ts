/**
 * One subscription: its names, its buffer, and the fiber that reads it, if it waits.
 *
 * @internal
 */
import type * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { RedisError } from "../../RedisError.ts"
import { SubscriberOverflow } from "../../RedisError.ts"
import type { Event, Name, Wanted } from "../../RedisPubSub.ts"
import { failure, redisError } from "../errors.ts"
import type { DecodeError } from "../resp/model.ts"
import type { Audience, Listener } from "./audience.ts"
import { Batch, Delivery, isNonEmpty } from "./batch.ts"
import type { Form } from "./batch.ts"
import { Inbox } from "./inbox.ts"
import type { InboxOptions, Item, Mark } from "./inbox.ts"
import type { Member, Topic } from "./subscriptions.ts"

/** The connection of a subscription, as that sees it. */
export interface Host {
  /** It waits, and is to be woken when the state is final. */
  readonly wake: (subscription: Subscription) => void
  /** Its buffer is full, and it is to have a turn before more comes. */
  readonly crowd: () => void
  /** It has ended by itself. */
  readonly failed: (subscription: Subscription) => void
}

export class Subscription implements Member, Listener {
  readonly wanted: Wanted
  /** Its names, each once, in their canonical form. */
  readonly names: ReadonlyArray<Name>
  readonly inbox: Inbox
  topics: Array<Topic<Subscription>> = []
  audience: Audience | undefined = undefined
  missing = 0
  /** `waiting` for its first confirmation, `live`, or in a `gap`. */
  phase: "waiting" | "live" | "gap" = "waiting"
  /** Why nothing more comes. */
  ended: Exit.Exit<never, RedisError> | undefined = undefined
  /** How long it may wait for its first confirmation, in milliseconds. */
  readonly timeoutMillis: number
  /** The moment until which it may, in milliseconds of a connection's `now`. */
  deadline = Infinity
  private readonly options: InboxOptions
  private host: Host | undefined = undefined
  private waiter: (() => void) | undefined = undefined
  /** It was to have a turn, and has not taken anything since. */
  private crowded = false
  /** It is to be woken. */
  private scheduled = false
  /** Told when something was taken out. */
  onTaken: (() => void) | undefined = undefined

  constructor(wanted: Wanted, names: ReadonlyArray<Name>, options: InboxOptions, timeoutMillis: number) {
    this.wanted = wanted
    this.names = names
    this.options = options
    this.inbox = new Inbox(options)
    this.timeoutMillis = timeoutMillis
  }

  /** It is a part of a connection from now on. */
  attach(host: Host): void {
    this.host = host
  }

  /** Whether it still waits for its first confirmation. */
  get isWaiting(): boolean {
    return this.phase === "waiting" && this.ended === undefined
  }

  /** The latest moment at which a passed deadline must have been noticed, as that of a call. */
  get wakeBy(): number {
    return this.deadline + Math.max(4, Math.floor(this.timeoutMillis * 0.01))
  }

  // ---------------------------------------------------------------------------------------------------------- being told

  get roomMessages(): number {
    return this.isWaitedFor ? this.inbox.roomMessages : Infinity
  }

  get roomBytes(): number {
    return this.isWaitedFor ? this.inbox.roomBytes : Infinity
  }

  private get isWaitedFor(): boolean {
    return !this.crowded && this.isTold
  }

  private get isTold(): boolean {
    return this.phase !== "waiting" && this.ended === undefined
  }

  /**
   * Takes messages; those before `Subscribed` were not promised. When the buffer is full it is to have a turn before the next ones
   * come: once, until it takes something. So one that is only behind because nobody let it run loses nothing, and one that is slow
   * holds up nobody.
   */
  readonly offer = (batch: Batch): void => {
    if (!this.isTold) return
    const isFailed = !this.inbox.offer(batch)
    this.schedule()
    if (isFailed) this.overflow()
    else if (this.inbox.full && !this.crowded) {
      this.crowded = true
      this.host?.crowd()
    }
  }

  /** What has come is put into the buffer, before anything else is. */
  private settle(): void {
    this.audience?.close()
  }

  readonly confirmed = (): void => {
    this.settle()
    if (this.phase === "live" || this.ended !== undefined) return
    const mark = this.inbox.tail()
    if (this.phase === "waiting") mark.subscribed = true
    else mark.resubscribed = true
    this.phase = "live"
    this.schedule()
  }

  /** The connection was lost, or the server has taken a name from us. */
  lost(since: number, cause: RedisError): void {
    this.settle()
    if (this.phase !== "live" || this.ended !== undefined) return
    this.phase = "gap"
    this.inbox.tail().lose(since, cause)
    this.schedule()
  }

  /** Messages came that could not be read. */
  skipped(since: number): void {
    this.settle()
    if (!this.isTold) return
    this.inbox.tail().drop(since, 1)
    this.schedule()
  }

  /** Nothing more comes, but what is in the buffer is still read. */
  end(exit: Exit.Exit<never, RedisError>): void {
    this.settle()
    this.ended ??= exit
    this.schedule()
  }

  private overflow(): void {
    const { bufferBytes, bufferMessages } = this.options
    this.end(failure(new SubscriberOverflow({ bufferMessages, bufferBytes })))
    this.host?.failed(this)
  }

  private schedule(): void {
    if (this.waiter === undefined || this.scheduled) return
    this.scheduled = true
    this.host?.wake(this)
  }

  // ------------------------------------------------------------------------------------------------------------- reading

  /** Lets the fiber that waits go on, if there is one. This runs its code. */
  wake(): void {
    this.scheduled = false
    this.waiter?.()
  }

  /** The next events, for one fiber, with their messages in that form. */
  pull<Payload, Channel>(
    form: Form<Payload, Channel>
  ): Effect.Effect<Arr.NonEmptyReadonlyArray<Event<Payload, Channel>>, RedisError> {
    const forget = Effect.sync(() => {
      this.waiter = undefined
    })
    const wait = Effect.callback<Arr.NonEmptyReadonlyArray<Event<Payload, Channel>>, RedisError>((resume) => {
      const look = (): void => {
        this.waiter = undefined
        const taken = this.take(form)
        if (taken === undefined) this.waiter = look
        else resume(taken)
      }
      look()
      return forget
    })
    return Effect.suspend(() => this.take(form) ?? wait)
  }

  private take<Payload, Channel>(
    form: Form<Payload, Channel>
  ): Exit.Exit<Arr.NonEmptyReadonlyArray<Event<Payload, Channel>>, RedisError> | undefined {
    const items = this.inbox.take()
    if (items instanceof Batch) {
      this.taken()
      const messages = form.messages(items)
      return messages === undefined ? this.told(items.deliveries, form) : Exit.succeed(messages)
    }
    if (items.length > 0) this.taken()
    return this.told(items, form)
  }

  private told<Payload, Channel>(
    items: ReadonlyArray<Item>,
    form: Form<Payload, Channel>
  ): Exit.Exit<Arr.NonEmptyReadonlyArray<Event<Payload, Channel>>, RedisError> | undefined {
    const events: Array<Event<Payload, Channel>> = []
    for (const item of items) {
      const failed = this.tell(item, form, events)
      if (failed === undefined) continue
      // The messages behind one that cannot be told are not told either.
      this.inbox.clear()
      this.ended = Exit.fail(redisError(failed))
      break
    }
    return isNonEmpty(events) ? Exit.succeed(events) : this.ended
  }

  private taken(): void {
    this.crowded = false
    this.onTaken?.()
  }

  private tell<Payload, Channel>(
    item: Item,
    form: Form<Payload, Channel>,
    events: Array<Event<Payload, Channel>>
  ): DecodeError | undefined {
    if (!(item instanceof Delivery)) {
      this.tellMark(item, events)
      return undefined
    }
    const message = form.message(item)
    if (message._tag === "DecodeError") return message
    events.push(message)
    return undefined
  }

  private tellMark<Payload, Channel>(mark: Mark, events: Array<Event<Payload, Channel>>): void {
    const channels = this.wanted.names
    const { dropped, droppedSince, lost, resubscribed, subscribed } = mark
    if (subscribed) events.push({ _tag: "Subscribed", channels })
    if (dropped > 0) events.push({ _tag: "Gap", reason: "overflow", since: droppedSince, dropped, cause: undefined })
    if (lost !== undefined) events.push({ _tag: "Gap", reason: "disconnected", dropped: undefined, ...lost })
    if (resubscribed) events.push({ _tag: "Resubscribed", channels })
  }
}

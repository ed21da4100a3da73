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
import type { Event, Message, Name, Wanted } from "../../RedisPubSub.ts"
import { failure, redisError } from "../errors.ts"
import type { DecodeError } from "../resp/model.ts"
import { Delivery, Inbox } from "./inbox.ts"
import type { InboxOptions, Item, Mark } from "./inbox.ts"
import type { Member, Topic } from "./subscriptions.ts"

/** A subscription that is woken when the state is final. */
export interface Wakes {
  readonly push: (subscription: Subscription) => unknown
}

export class Subscription implements Member {
  readonly wanted: Wanted
  /** Its names, each once, in their canonical form. */
  readonly names: ReadonlyArray<Name>
  readonly inbox: Inbox
  topics: Array<Topic<Subscription>> = []
  missing = 0
  /** `waiting` for its first confirmation, `live`, or in a `gap`. */
  phase: "waiting" | "live" | "gap" = "waiting"
  /** Why nothing more comes. */
  ended: Exit.Exit<never, RedisError> | undefined = undefined
  private readonly options: InboxOptions
  private wakes: Wakes | undefined = undefined
  private waiter: (() => void) | undefined = undefined
  private crowded = false
  /** It is to be woken. */
  private scheduled = false
  /** Told when something was taken out. */
  onTaken: (() => void) | undefined = undefined

  constructor(wanted: Wanted, names: ReadonlyArray<Name>, options: InboxOptions) {
    this.wanted = wanted
    this.names = names
    this.options = options
    this.inbox = new Inbox(options)
  }

  /** It is a part of a connection from now on. */
  attach(wakes: Wakes): void {
    this.wakes = wakes
  }

  // ---------------------------------------------------------------------------------------------------------- being told

  /**
   * Takes a message; those before `Subscribed` were not promised. Returns whether the buffer is full and it is to have a turn
   * before the next one comes: once, until it takes something. So one that is only behind because nobody let it run loses nothing, and
   * one that is slow holds up nobody.
   */
  offer(delivery: Delivery): boolean {
    if (this.phase === "waiting" || this.ended !== undefined) return false
    const offer = this.inbox.offer(delivery)
    if (offer === "failed") this.overflow()
    this.schedule()
    if (offer !== "full" || this.crowded) return false
    this.crowded = true
    return true
  }

  readonly confirmed = (): void => {
    if (this.phase === "live" || this.ended !== undefined) return
    const mark = this.inbox.tail()
    if (this.phase === "waiting") mark.subscribed = true
    else mark.resubscribed = true
    this.phase = "live"
    this.schedule()
  }

  /** The connection was lost, or the server has taken a name from us. */
  lost(since: number, cause: RedisError): void {
    if (this.phase !== "live" || this.ended !== undefined) return
    this.phase = "gap"
    this.inbox.tail().lose(since, cause)
    this.schedule()
  }

  /** Messages came that could not be read. */
  skipped(since: number): void {
    if (this.phase === "waiting" || this.ended !== undefined) return
    this.inbox.tail().drop(since, 1)
    this.schedule()
  }

  /** Nothing more comes, but what is in the buffer is still read. */
  end(exit: Exit.Exit<never, RedisError>): void {
    this.ended ??= exit
    this.schedule()
  }

  private overflow(): void {
    const { bufferBytes, bufferMessages } = this.options
    this.end(failure(new SubscriberOverflow({ bufferMessages, bufferBytes })))
  }

  private schedule(): void {
    if (this.waiter === undefined || this.scheduled) return
    this.scheduled = true
    this.wakes?.push(this)
  }

  // ------------------------------------------------------------------------------------------------------------- reading

  /** Lets the fiber that waits go on, if there is one. This runs its code. */
  wake(): void {
    this.scheduled = false
    this.waiter?.()
  }

  /** The next events, for one fiber: `make` turns a message into its form. */
  pull<Payload, Channel>(
    make: (delivery: Delivery) => Message<Payload, Channel> | DecodeError
  ): Effect.Effect<Arr.NonEmptyReadonlyArray<Event<Payload, Channel>>, RedisError> {
    return Effect.callback((resume) => {
      const look = (): void => {
        this.waiter = undefined
        const taken = this.take(make)
        if (taken === undefined) this.waiter = look
        else resume(taken)
      }
      look()
      return Effect.sync(() => {
        this.waiter = undefined
      })
    })
  }

  private take<Payload, Channel>(
    make: (delivery: Delivery) => Message<Payload, Channel> | DecodeError
  ): Exit.Exit<Arr.NonEmptyReadonlyArray<Event<Payload, Channel>>, RedisError> | undefined {
    const items = this.inbox.take()
    const events: Array<Event<Payload, Channel>> = []
    for (const item of items) {
      const failed = this.tell(item, make, events)
      if (failed === undefined) continue
      // The messages behind one that cannot be told are not told either.
      this.inbox.clear()
      this.ended = Exit.fail(redisError(failed))
      break
    }
    if (items.length > 0) this.taken()
    return isNonEmpty(events) ? Exit.succeed(events) : this.ended
  }

  private taken(): void {
    this.crowded = false
    this.onTaken?.()
  }

  private tell<Payload, Channel>(
    item: Item,
    make: (delivery: Delivery) => Message<Payload, Channel> | DecodeError,
    events: Array<Event<Payload, Channel>>
  ): DecodeError | undefined {
    if (!(item instanceof Delivery)) {
      this.tellMark(item, events)
      return undefined
    }
    const message = make(item)
    if (message._tag === "DecodeError") return message
    events.push(message)
    return undefined
  }

  private tellMark<Payload, Channel>(mark: Mark, events: Array<Event<Payload, Channel>>): void {
    const channels = this.wanted.names
    const { lost, overflow, resubscribed, subscribed } = mark
    if (subscribed) events.push({ _tag: "Subscribed", channels })
    if (overflow !== undefined) events.push({ _tag: "Gap", reason: "overflow", cause: undefined, ...overflow })
    if (lost !== undefined) events.push({ _tag: "Gap", reason: "disconnected", dropped: undefined, ...lost })
    if (resubscribed) events.push({ _tag: "Resubscribed", channels })
  }
}

const isNonEmpty = <A>(events: Array<A>): events is [A, ...Array<A>] => events.length > 0

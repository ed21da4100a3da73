/**
 * The one queue of the runtime: first in, first out, bounded by count and by bytes, with cancellable entries.
 *
 * A mailbox holds *entries*: objects that carry their own links, so that queueing allocates nothing, and taking an entry
 * out of the middle (because its caller was interrupted, or its deadline passed) is one step and leaves nothing behind.
 * Whose a mailbox is, its owner says: a `GenServer`'s belongs to the instance and dies with it, as in OTP; a Redis
 * connection's belongs to the connection and outlives its sessions.
 *
 * Bounds, which OTP does not have: Erlang's mailboxes are unbounded, and so is their memory. Here an entry that does not fit
 * waits behind the queue (`"suspend"`: its fiber is suspended, which is back-pressure) or is refused (`"fail"`).
 *
 * Everything here is synchronous and runs no code of an entry's owner but the two hooks, which are called when the
 * mailbox is consistent.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/**
 * The fields of an object that can be put into a `Mailbox` or an `EntryList`.
 *
 * `count` is how many messages it stands for (a pipeline of ten commands: 10) and `bytes` its size; neither may change
 * while the entry is in a list. `next`, `previous` and `list` belong to the list: start them as `undefined`, never write them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry<Self extends Entry<Self>> {
  readonly count: number
  readonly bytes: number
  next: Self | undefined
  previous: Self | undefined
  list: EntryList<Self> | undefined
}

/**
 * A doubly linked list of entries that knows its totals. An entry is in at most one list at a time.
 *
 * Use it for what has left the mailbox but must stay in order, as commands that were written and wait for their replies.
 * It has no bounds of its own.
 *
 * @category models
 * @since 0.1.0
 */
export class EntryList<A extends Entry<A>> {
  /** The oldest entry. */
  head: A | undefined = undefined
  /** The newest entry. */
  tail: A | undefined = undefined
  /** How many entries there are. */
  size = 0
  /** The sum of the entries' counts. */
  count = 0
  /** The sum of the entries' bytes. */
  bytes = 0

  /** Adds an entry at the end. */
  push(entry: A): void {
    this.claim(entry)
    entry.previous = this.tail
    if (this.tail === undefined) this.head = entry
    else this.tail.next = entry
    this.tail = entry
  }

  /** Adds an entry at the front. */
  unshift(entry: A): void {
    this.claim(entry)
    entry.next = this.head
    if (this.head === undefined) this.tail = entry
    else this.head.previous = entry
    this.head = entry
  }

  /** Takes the oldest entry out, or returns `undefined`. */
  shift(): A | undefined {
    const entry = this.head
    if (entry !== undefined) this.remove(entry)
    return entry
  }

  /** Takes an entry out, wherever it stands. `false` when it is not in this list (any more). */
  remove(entry: A): boolean {
    if (entry.list !== this) return false
    const { next, previous } = entry
    if (previous === undefined) this.head = next
    else previous.next = next
    if (next === undefined) this.tail = previous
    else next.previous = previous
    entry.next = undefined
    entry.previous = undefined
    entry.list = undefined
    this.size--
    this.count -= entry.count
    this.bytes -= entry.bytes
    return true
  }

  private claim(entry: A): void {
    if (entry.list !== undefined) throw new Error("Mailbox: an entry can be in one list only; remove it there first")
    entry.list = this
    this.size++
    this.count += entry.count
    this.bytes += entry.bytes
  }
}

/**
 * The bounds of a mailbox, and what happens to an entry that does not fit: `"suspend"` (it waits its turn outside of the
 * bounds) or `"fail"` (it is refused).
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<A> {
  /** The most messages in the queue. Default: no limit. */
  readonly capacity?: number | undefined
  /** The most bytes in the queue. Default: no limit. */
  readonly capacityBytes?: number | undefined
  /** Default: `"suspend"`. */
  readonly whenFull?: "suspend" | "fail" | undefined
  /** Called when an entry that had to wait has come into the queue. */
  readonly onAdmit?: ((entry: A) => void) | undefined
}

/**
 * The outcome of an offer: it is in the queue, it waits for room, or it was refused.
 *
 * @category models
 * @since 0.1.0
 */
export type Offer = "queued" | "waiting" | "full"

/**
 * A bounded queue with one consumer and cancellable entries.
 *
 * An entry that alone is larger than the bounds goes in when the queue is empty, so that nothing waits for ever. Order is
 * that of the offers: nobody passes those who wait.
 *
 * @category models
 * @since 0.1.0
 */
export class Mailbox<A extends Entry<A>> {
  /** The entries that can be taken now. */
  readonly queue: EntryList<A> = new EntryList<A>()
  /** The entries that wait for room. */
  readonly waiting: EntryList<A> = new EntryList<A>()
  /**
   * Called when the queue was empty and is no longer. The consumer sets it; it must not take from inside of it
   * unless it can be called from within an offer.
   */
  onReady: (() => void) | undefined = undefined

  private readonly capacity: number
  private readonly capacityBytes: number
  private readonly suspend: boolean
  private readonly onAdmit: ((entry: A) => void) | undefined

  constructor(options: Options<A> = {}) {
    this.capacity = options.capacity ?? Infinity
    this.capacityBytes = options.capacityBytes ?? Infinity
    this.suspend = options.whenFull !== "fail"
    this.onAdmit = options.onAdmit
  }

  /** The number of messages that are in the queue or wait for room. */
  get depth(): number {
    return this.queue.count + this.waiting.count
  }

  /** Puts an entry at the end of the queue, if there is room. */
  offer(entry: A): Offer {
    if (this.waiting.head === undefined && this.fits(entry)) {
      const wasEmpty = this.queue.head === undefined
      this.queue.push(entry)
      if (wasEmpty) this.onReady?.()
      return "queued"
    }
    if (!this.suspend) return "full"
    this.waiting.push(entry)
    return "waiting"
  }

  /**
   * Puts an entry at the end of the queue whatever the bounds, before those who wait for room: for what must not be
   * refused, such as an exit signal.
   */
  append(entry: A): void {
    const wasEmpty = this.queue.head === undefined
    this.queue.push(entry)
    if (wasEmpty) this.onReady?.()
  }

  /** Puts an entry back at the head of the queue. Not bounded: it had its place before. */
  prepend(entry: A): void {
    const wasEmpty = this.queue.head === undefined
    this.queue.unshift(entry)
    if (wasEmpty) this.onReady?.()
  }

  /** Takes the oldest entry, or `undefined` when the queue is empty. */
  take(): A | undefined {
    const entry = this.queue.shift()
    if (entry !== undefined && this.waiting.head !== undefined) this.admit()
    return entry
  }

  /** Takes an entry out again, queued or waiting. `false` when it is not here (any more). */
  remove(entry: A): boolean {
    const here = this.queue.remove(entry) || this.waiting.remove(entry)
    if (here && this.waiting.head !== undefined) this.admit()
    return here
  }

  /** Takes everything out, the waiting ones included, oldest first. */
  drain(): Array<A> {
    const entries: Array<A> = []
    for (const list of [this.queue, this.waiting]) {
      for (let entry = list.shift(); entry !== undefined; entry = list.shift()) entries.push(entry)
    }
    return entries
  }

  private fits(entry: A): boolean {
    const queue = this.queue
    return (
      queue.head === undefined ||
      (queue.count + entry.count <= this.capacity && queue.bytes + entry.bytes <= this.capacityBytes)
    )
  }

  private admit(): void {
    for (let entry = this.waiting.head; entry !== undefined && this.fits(entry); entry = this.waiting.head) {
      const wasEmpty = this.queue.head === undefined
      this.waiting.remove(entry)
      this.queue.push(entry)
      this.onAdmit?.(entry)
      if (wasEmpty) this.onReady?.()
    }
  }
}

/**
 * Waits until the mailbox has something to take. For one consumer at a time: it uses the mailbox's `onReady`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const awaitReady = <A extends Entry<A>>(mailbox: Mailbox<A>): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (mailbox.queue.head !== undefined) return resume(Effect.void)
    mailbox.onReady = () => {
      mailbox.onReady = undefined
      resume(Effect.void)
    }
    return Effect.sync(() => {
      mailbox.onReady = undefined
    })
  })

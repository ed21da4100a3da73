/**
 * The buffer of one subscriber: messages, bounded by count and bytes, and between them, in order, what else is to be told.
 *
 * Messages come in batches that other buffers hold, too. So what a buffer does costs as much for a batch as for a message, as long
 * as nothing is dropped.
 *
 * The events between two messages are one `Mark`, whatever happens: two losses without a message in between are one gap, which
 * begins where the first began. So there are never more marks than messages and one, and a subscriber that has stopped reading
 * holds no more than its buffer. For the same reason a dropped message leaves a count in the mark of its place.
 *
 * @internal
 */
import type { RedisError } from "../../RedisError.ts"
import type { WhenFull } from "../../RedisPubSub.ts"
import { Batch, BATCH_BYTES, BATCH_MESSAGES } from "./batch.ts"
import type { Delivery } from "./batch.ts"

/** The events between two messages, told in this order. */
export class Mark {
  subscribed = false
  /** Messages that found no room: how many, and since when. */
  dropped = 0
  droppedSince = 0
  /** The connection was lost: since when, and why. */
  lost: { readonly since: number; readonly cause: RedisError } | undefined = undefined
  resubscribed = false

  drop(since: number, dropped: number): void {
    if (this.dropped === 0) this.droppedSince = since
    this.dropped += dropped
  }

  lose(since: number, cause: RedisError): void {
    this.lost ??= { since, cause }
    this.resubscribed = false
  }

  /** Takes in the mark behind it, when no message stands between the two any more. */
  absorb(later: Mark): void {
    if (later.dropped > 0) this.drop(later.droppedSince, later.dropped)
    if (later.lost !== undefined) this.lose(later.lost.since, later.lost.cause)
    if (later.resubscribed) this.resubscribed = true
  }
}

export type Item = Delivery | Mark

export interface InboxOptions {
  readonly bufferMessages: number
  readonly bufferBytes: number
  readonly whenFull: WhenFull
}

/** A batch of at least this many messages is handed out as it is; of smaller ones several at a time. */
const ENOUGH_MESSAGES = 64

const nothing: ReadonlyArray<Item> = []

/** Batches of more messages are not held for the sake of less than half of them. */
const SMALL_BATCH = 8

export class Inbox {
  private readonly bufferMessages: number
  private readonly bufferBytes: number
  private readonly whenFull: WhenFull
  /** `undefined` before `head`. Never two marks side by side. */
  private items: Array<Batch | Mark | undefined> = []
  private head = 0
  /** The messages of the first batch that are gone; less than all. */
  private gone = 0
  private messages = 0
  private bytes = 0
  /** Messages that were dropped, in all. */
  dropped = 0

  constructor(options: InboxOptions) {
    this.bufferMessages = options.bufferMessages
    this.bufferBytes = options.bufferBytes
    this.whenFull = options.whenFull
  }

  get depth(): number {
    return this.messages
  }

  /** The messages, and the bytes, until it is full. */
  get roomMessages(): number {
    return this.bufferMessages - this.messages
  }

  get roomBytes(): number {
    return this.bufferBytes - this.bytes
  }

  /** Whether there is no room for one more message. */
  get full(): boolean {
    return this.messages >= this.bufferMessages || (this.bytes >= this.bufferBytes && this.messages > 0)
  }

  /** Puts messages in, or drops as many as it must. Returns whether that is no failure of the subscriber. */
  offer(batch: Batch): boolean {
    const { whenFull } = this
    if (this.fits(batch.size, batch.bytes)) this.push(batch)
    else if (whenFull === "dropNewest" || whenFull === "fail") return this.pushWhatFits(batch)
    else {
      // One that is suspended takes what was read before it was.
      this.push(batch)
      if (whenFull === "dropOldest") while (!this.fits(0, 0)) this.dropOldest()
    }
    return true
  }

  /** Whether there is room for so much more. One message always has. */
  private fits(messages: number, bytes: number): boolean {
    const after = this.messages + messages
    return after <= 1 || (after <= this.bufferMessages && this.bytes + bytes <= this.bufferBytes)
  }

  private push(batch: Batch): void {
    this.items.push(batch)
    this.messages += batch.size
    this.bytes += batch.bytes
  }

  private pushWhatFits({ deliveries }: Batch): boolean {
    // A batch of its own, as it may keep few of many.
    let kept = new Batch()
    for (const delivery of deliveries) {
      if (this.fits(kept.size + 1, kept.bytes + delivery.bytes)) {
        kept.add(delivery)
        continue
      }
      if (kept.size > 0) this.push(kept)
      kept = new Batch()
      if (this.whenFull === "fail") return false
      this.dropped++
      this.tail().drop(delivery.provenAt, 1)
    }
    if (kept.size > 0) this.push(kept)
    return true
  }

  /** The mark behind all messages. */
  tail(): Mark {
    const last = this.items.at(-1)
    if (last instanceof Mark) return last
    const mark = new Mark()
    this.items.push(mark)
    return mark
  }

  /** The oldest messages as the batch that they came in, or some items, the oldest first; none when there are none. */
  take(): Batch | ReadonlyArray<Item> {
    const first = this.items[this.head]
    if (first === undefined) return nothing
    const isWhole = first instanceof Batch && this.gone === 0
    if (!isWhole || (first.size < ENOUGH_MESSAGES && this.head + 1 < this.items.length)) return this.takeItems()
    this.messages -= first.size
    this.bytes -= first.bytes
    this.shift()
    this.compact()
    return first
  }

  private takeItems(): Array<Item> {
    const taken: Array<Item> = []
    let bytes = 0
    while (taken.length < BATCH_MESSAGES && bytes < BATCH_BYTES) {
      const item = this.items[this.head]
      if (item === undefined) break
      if (item instanceof Mark) {
        taken.push(item)
        this.shift()
        continue
      }
      const delivery = this.remove(item)
      if (delivery === undefined) break
      taken.push(delivery)
      bytes += delivery.bytes
      if (this.gone === item.size) this.shift()
    }
    this.compact()
    return taken
  }

  /** Forgets everything. */
  clear(): void {
    this.items = []
    this.head = 0
    this.gone = 0
    this.messages = 0
    this.bytes = 0
  }

  /** The first item goes. */
  private shift(): void {
    if (this.items[this.head] instanceof Batch) this.gone = 0
    this.items[this.head++] = undefined
  }

  /** Takes the oldest message out of the first batch, which may then have none. */
  private remove(first: Batch): Delivery | undefined {
    const delivery = first.deliveries[this.gone++]
    if (delivery === undefined) return undefined
    this.messages--
    this.bytes -= delivery.bytes
    return delivery
  }

  /** Drops the oldest message; its place keeps the count. There is one. */
  private dropOldest(): void {
    const mark = this.first()
    const batch = this.items[this.head + 1]
    if (!(batch instanceof Batch)) return
    const oldest = this.remove(batch)
    if (oldest === undefined) return
    this.dropped++
    mark.drop(oldest.provenAt, 1)
    if (this.gone < batch.size) return this.shorten(batch)
    this.gone = 0
    this.items[this.head++] = undefined
    const next = this.items[this.head + 1]
    if (next instanceof Mark) {
      mark.absorb(next)
      this.items[this.head++] = undefined
    }
    this.items[this.head] = mark
    this.compact()
  }

  /** The mark before all messages. */
  private first(): Mark {
    const first = this.items[this.head]
    if (first instanceof Mark) return first
    const mark = new Mark()
    if (this.head === 0) this.items.unshift(mark)
    else this.items[--this.head] = mark
    return mark
  }

  /** Does not hold more than twice the messages of the first batch that are left. */
  private shorten(batch: Batch): void {
    if (batch.size <= SMALL_BATCH || this.gone * 2 < batch.size) return
    this.items[this.head + 1] = new Batch(batch.deliveries.slice(this.gone))
    this.gone = 0
  }

  /** Gives back the places of what is gone, when they are half of all. */
  private compact(): void {
    if (this.head === this.items.length) {
      this.items = []
      this.head = 0
    } else if (this.head >= 512 && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head)
      this.head = 0
    }
  }
}

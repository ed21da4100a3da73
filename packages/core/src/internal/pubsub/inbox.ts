/**
 * The buffer of one subscriber: messages, bounded by count and bytes, and between them, in order, what else is to be told.
 *
 * The events between two messages are one `Mark`, whatever happens: two losses without a message in between are one gap, which
 * begins where the first began. So there are never more marks than messages and one, and a subscriber that has stopped reading
 * holds no more than its buffer. For the same reason a dropped message leaves a count in the mark of its place.
 *
 * @internal
 */
import type { RedisError } from "../../RedisError.ts"
import type { Message, Name, WhenFull } from "../../RedisPubSub.ts"
import { Buffer } from "node:buffer"
import { DecodeError } from "../resp/model.ts"

/** A message as it came. All subscribers share it, and what is made of it. */
export class Delivery {
  readonly channel: Name
  readonly pattern: Name | undefined
  readonly payload: unknown
  /** The bytes it counts in a buffer. */
  readonly bytes: number
  /** No message that was published before this moment can be missing before this one, in milliseconds since the epoch. */
  readonly provenAt: number
  private asText: Message | DecodeError | undefined = undefined
  private asBytes: Message<Uint8Array, Name> | DecodeError | undefined = undefined

  constructor(channel: Name, pattern: Name | undefined, payload: unknown, provenAt: number) {
    this.channel = channel
    this.pattern = pattern
    this.payload = payload
    this.bytes = typeof payload === "string" || payload instanceof Uint8Array ? payload.length : 0
    this.provenAt = provenAt
  }

  get text(): Message | DecodeError {
    return (this.asText ??= this.makeText())
  }

  get binary(): Message<Uint8Array, Name> | DecodeError {
    return (this.asBytes ??= this.makeBinary())
  }

  private makeText(): Message | DecodeError {
    const { channel, pattern, payload } = this
    if (typeof payload !== "string") return payload instanceof Uint8Array ? notText("payload") : notAString
    if (typeof channel !== "string") return notText("channel's name")
    if (pattern !== undefined && typeof pattern !== "string") return notText("pattern")
    return { _tag: "Message", channel, pattern, payload }
  }

  private makeBinary(): Message<Uint8Array, Name> | DecodeError {
    const { channel, pattern, payload } = this
    if (payload instanceof Uint8Array) return { _tag: "Message", channel, pattern, payload }
    if (typeof payload !== "string") return notAString
    return { _tag: "Message", channel, pattern, payload: Buffer.from(payload) }
  }
}

const notText = (what: string): DecodeError =>
  new DecodeError("utf8", `The ${what} of a message is not UTF-8: subscribe with decode: "bytes"`)

const notAString = new DecodeError("schema", "The payload of a message is no string")

/** The events between two messages, told in this order. */
export class Mark {
  subscribed = false
  /** Messages that found no room: since when, and how many. */
  overflow: { readonly since: number; readonly dropped: number } | undefined = undefined
  /** The connection was lost: since when, and why. */
  lost: { readonly since: number; readonly cause: RedisError } | undefined = undefined
  resubscribed = false

  drop(since: number, dropped: number): void {
    const { overflow } = this
    this.overflow =
      overflow === undefined ? { since, dropped } : { since: overflow.since, dropped: overflow.dropped + dropped }
  }

  lose(since: number, cause: RedisError): void {
    this.lost ??= { since, cause }
    this.resubscribed = false
  }

  /** Takes in the mark behind it, when no message stands between the two any more. */
  absorb(later: Mark): void {
    if (later.overflow !== undefined) this.drop(later.overflow.since, later.overflow.dropped)
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

/** The most that is handed out at a time, so that a subscriber holds little besides its buffer. */
const TAKE_MESSAGES = 256
const TAKE_BYTES = 64 * 1024

/** What became of a message. `full`: it is in, or dropped as it should, and there is no room for the next one. */
export type Offer = "kept" | "full" | "failed"

export class Inbox {
  private readonly bufferMessages: number
  private readonly bufferBytes: number
  private readonly whenFull: WhenFull
  /** `undefined` before `head`. Never two marks side by side. */
  private items: Array<Item | undefined> = []
  private head = 0
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

  /** Whether there is no room for one more message. */
  get full(): boolean {
    return this.messages >= this.bufferMessages || (this.bytes >= this.bufferBytes && this.messages > 0)
  }

  /** Puts a message in. `failed` when that is the subscriber's failure. */
  offer(delivery: Delivery): Offer {
    if (!this.fits(delivery)) {
      const { whenFull } = this
      if (whenFull === "fail") return "failed"
      if (whenFull === "dropNewest") {
        this.dropped++
        this.tail().drop(delivery.provenAt, 1)
        return "full"
      }
      // One that is suspended takes what was read before it was.
      if (whenFull === "dropOldest") this.makeRoom(delivery)
    }
    this.items.push(delivery)
    this.messages++
    this.bytes += delivery.bytes
    return this.full ? "full" : "kept"
  }

  private fits(delivery: Delivery): boolean {
    return (
      this.messages === 0 || (this.messages < this.bufferMessages && this.bytes + delivery.bytes <= this.bufferBytes)
    )
  }

  private makeRoom(delivery: Delivery): void {
    while (!this.fits(delivery)) this.dropOldest()
  }

  /** The mark behind all messages. */
  tail(): Mark {
    const last = this.items.at(-1)
    if (last instanceof Mark) return last
    const mark = new Mark()
    this.items.push(mark)
    return mark
  }

  /** Some items, the oldest first; none when there are none. */
  take(): Array<Item> {
    const taken: Array<Item> = []
    let bytes = 0
    while (taken.length < TAKE_MESSAGES && bytes < TAKE_BYTES) {
      const item = this.items[this.head]
      if (item === undefined) break
      this.items[this.head++] = undefined
      if (item instanceof Delivery) {
        this.messages--
        this.bytes -= item.bytes
        bytes += item.bytes
      }
      taken.push(item)
    }
    this.compact()
    return taken
  }

  /** Forgets everything. */
  clear(): void {
    this.items = []
    this.head = 0
    this.messages = 0
    this.bytes = 0
  }

  /** Drops the oldest message; its place keeps the count. There is one. */
  private dropOldest(): void {
    const first = this.items[this.head]
    const mark = first instanceof Mark ? first : new Mark()
    const at = first instanceof Mark ? this.head + 1 : this.head
    const oldest = this.items[at]
    if (!(oldest instanceof Delivery)) return
    this.messages--
    this.bytes -= oldest.bytes
    this.dropped++
    mark.drop(oldest.provenAt, 1)
    let place = at
    const next = this.items[at + 1]
    if (next instanceof Mark) {
      mark.absorb(next)
      place = at + 1
    }
    for (let i = this.head; i < place; i++) this.items[i] = undefined
    this.head = place
    this.items[place] = mark
    this.compact()
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

/**
 * The subscriptions that are told the same, and the batch that is being filled for all of them.
 *
 * A message is put into the open batch of its topic's audience, at a cost that does not depend on how many are told. The batch
 * is closed, and offered to each of them, when it is large enough, when one of their buffers is full with it, when something else
 * is to be told to one of them, and when the frames that came together are through. A subscription is part of one open batch at
 * most: so it is told everything in the order in which it came.
 *
 * @internal
 */
import { Batch, BATCH_BYTES, BATCH_MESSAGES } from "./batch.ts"
import type { Delivery } from "./batch.ts"

/** A subscription, as its audiences see it. */
export interface Listener {
  /** The audience whose open batch it is part of: theirs to set. */
  audience: Audience | undefined
  /** How much more it takes before it is to have a turn. Without bounds when nobody waits for it. */
  readonly roomMessages: number
  readonly roomBytes: number
  /** Takes a batch that is closed. */
  readonly offer: (batch: Batch) => void
}

export class Audience {
  readonly members: ReadonlyArray<Listener>
  private batch: Batch | undefined = undefined
  /** The size at which the batch is closed. */
  private mostMessages = 0
  private mostBytes = 0

  constructor(members: Iterable<Listener>) {
    this.members = [...members]
  }

  get isOpen(): boolean {
    return this.batch !== undefined
  }

  /** Begins a batch. None of its members is part of another one. */
  open(): void {
    this.batch = new Batch()
    this.mostMessages = BATCH_MESSAGES
    this.mostBytes = BATCH_BYTES
    for (const member of this.members) {
      member.audience = this
      const { roomBytes, roomMessages } = member
      if (roomMessages < this.mostMessages) this.mostMessages = roomMessages
      if (roomBytes < this.mostBytes) this.mostBytes = roomBytes
    }
  }

  add(delivery: Delivery): void {
    const { batch } = this
    if (batch === undefined) return
    // A large one goes alone, so that no buffer holds it for the sake of a small one.
    if (delivery.bytes >= BATCH_BYTES && batch.size > 0) {
      this.close()
      this.open()
      return this.add(delivery)
    }
    batch.add(delivery)
    if (batch.size >= this.mostMessages || batch.bytes >= this.mostBytes) this.close()
  }

  /** Offers the open batch, if there is one, to all of them. */
  close(): void {
    const { batch } = this
    if (batch === undefined) return
    this.batch = undefined
    this.offer(batch)
  }

  /** Offers a batch to all of them. They are part of no open one. */
  offer(batch: Batch): void {
    for (const member of this.members) {
      member.audience = undefined
      member.offer(batch)
    }
  }

  hasMembers(members: ReadonlyArray<Listener>): boolean {
    return members.length === this.members.length && members.every((member, i) => member === this.members[i])
  }
}

/** A topic, as far as it matters here. `audience` is forgotten whenever `members` change. */
export interface Told {
  readonly members: ReadonlySet<Listener>
  audience: Audience | undefined
}

/** The audiences of all topics of a connection. */
export class Audiences {
  /** Those that were opened since the last time that all were closed. */
  private opened: Array<Audience> = []

  deliver(topic: Told, delivery: Delivery): void {
    const audience = (topic.audience ??= new Audience(topic.members))
    if (audience.isOpen) return audience.add(delivery)
    const other = this.makeWay(audience)
    if (other === undefined) {
      audience.open()
      this.opened.push(audience)
      return audience.add(delivery)
    }
    // The topics of the same subscriptions share a batch, in which their messages may alternate.
    if (other.isOpen) {
      topic.audience = other
      return other.add(delivery)
    }
    // Where others come in between a batch would most likely be cut again.
    audience.offer(new Batch([delivery]))
  }

  /** Offers everything that is not offered yet. */
  closeAll(): void {
    const { opened } = this
    if (opened.length === 0) return
    this.opened = []
    for (const audience of opened) audience.close()
  }

  /**
   * Closes the batches of others that its members are part of. Returns one of them, if there was one: open still, when that has the
   * same members.
   */
  private makeWay({ members }: Audience): Audience | undefined {
    let found: Audience | undefined = undefined
    for (const { audience: other } of members) {
      if (other === undefined) continue
      if (other.hasMembers(members)) return other
      other.close()
      found = other
    }
    return found
  }
}

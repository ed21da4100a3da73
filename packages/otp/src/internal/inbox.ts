/**
 * The queue of one process: unbounded, in the order of arrival, with at most one taker, which is the process itself.
 *
 * It is unbounded as OTP's mailboxes are, for what must not be refused: ends of processes, exit signals, calls of
 * supervisors. Queues that callers can fill at will are bounded `Mailbox`es.
 */
import * as Effect from "effect/Effect"

export class Inbox<in out A> {
  private items: Array<A> = []
  private head = 0
  private waiter: ((effect: Effect.Effect<A>) => void) | undefined = undefined

  get size(): number {
    return this.items.length - this.head
  }

  /** Whether its process waits for a message. */
  get isWaiting(): boolean {
    return this.waiter !== undefined
  }

  /** Hands the item to the taker, which goes on at once when it waits, or keeps it. */
  offer(item: A): void {
    const waiter = this.waiter
    if (waiter !== undefined) {
      this.waiter = undefined
      waiter(Effect.succeed(item))
    } else {
      this.items.push(item)
    }
  }

  /** The next item, or `undefined`. */
  poll(): A | undefined {
    if (this.head === this.items.length) return undefined
    const item = this.items[this.head]
    this.head++
    if (this.head === this.items.length) {
      this.items = []
      this.head = 0
    } else if (this.head > 1024 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head)
      this.head = 0
    }
    return item
  }

  /** Removes waiting items for which `test` holds. */
  removeWhere(test: (item: A) => boolean): void {
    this.items = this.items.slice(this.head).filter((item) => !test(item))
    this.head = 0
  }

  /** Takes everything that waits. */
  drain(): Array<A> {
    const rest = this.items.slice(this.head)
    this.items = []
    this.head = 0
    return rest
  }

  /** Waits for the next item. */
  readonly take: Effect.Effect<A> = Effect.suspend(() => {
    if (this.size > 0) return Effect.succeed(this.poll() as A)
    return Effect.callback<A>((resume) => {
      this.waiter = resume
      return Effect.sync(() => {
        if (this.waiter === resume) this.waiter = undefined
      })
    })
  })
}

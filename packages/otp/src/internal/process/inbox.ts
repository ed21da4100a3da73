/**
 * The queue of one process: unbounded, in the order of arrival, with at most one taker, which is the process itself.
 *
 * It is unbounded as OTP's mailboxes are, for what must not be refused: ends of processes, exit signals, calls of
 * supervisors. Queues that callers can fill at will are bounded `Mailbox`es.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import { wake } from "./signals.ts"
import type { Tick } from "./timers.ts"

export class Inbox<in out A> {
  private items: Array<A> = []
  private head = 0
  private waiter: (() => void) | undefined = undefined

  get waiting(): number {
    return this.size
  }

  get size(): number {
    return this.items.length - this.head
  }

  /** Whether its process waits for a message. */
  get isWaiting(): boolean {
    return this.waiter !== undefined
  }

  /** Keeps the item and wakes the taker, if it waits. It takes the item itself, so an interrupted one loses nothing. */
  offer(item: A): void {
    this.items.push(item)
    const waiter = this.waiter
    this.waiter = undefined
    waiter?.()
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

  /** As `offer`; the item can be taken out again as long as it waits. */
  post(item: A): Tick {
    this.offer(item)
    return {
      isWaiting: () => this.items.indexOf(item, this.head) >= 0,
      remove: () => this.removeWhere((other) => other === item)
    }
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
  readonly take: Effect.Effect<A> = Effect.suspend(() =>
    this.size > 0 ? Effect.succeed(this.poll() as A) : Effect.andThen(this.arrival, this.take)
  )

  private readonly arrival: Effect.Effect<void> = Effect.withFiber((fiber) =>
    Effect.callback<void>((resume) => {
      // The fiber may have yielded since it looked, and an item may have come meanwhile.
      if (this.size > 0) return resume(Effect.void)
      const waiter = () => wake(fiber, () => resume(Effect.void))
      this.waiter = waiter
      return Effect.sync(() => {
        if (this.waiter === waiter) this.waiter = undefined
      })
    })
  )
}

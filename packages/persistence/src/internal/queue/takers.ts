/**
 * Those who wait for an element of one queue, in order, and what their loop knows.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type { PersistedQueueError } from "effect/persistence/PersistedQueue"
import type { QueueKeys } from "./scripts.ts"

/** An element that was taken from the server. */
export interface Claim {
  readonly payload: string
  /** Counted from 1. */
  readonly attempts: number
  readonly lock: string
}

export interface Taker {
  claim: Claim | undefined
  resume: ((effect: Effect.Effect<Claim, PersistedQueueError>) => void) | undefined
}

export class Takers {
  readonly keys: QueueKeys
  readonly waiting = new Set<Taker>()
  /** Its loop runs. */
  polled = false
  maxAttempts = Infinity
  /** When to look for elements whose takers are gone: at once, and then from time to time. */
  recoverAt = -Infinity
  /** The fiber that waits for the server to say that there is an element. */
  blocked: Fiber.Fiber<void> | undefined = undefined
  /** This process offers, too: then the next element is likely its own. */
  isOfferedHere = false
  private readonly nudge = Latch.makeUnsafe(false)
  /** The milliseconds that the loop waits for, while it waits; else below zero. */
  private waits = -1

  constructor(keys: QueueKeys) {
    this.keys = keys
  }

  /** Hands the elements out, in order; returns those that nobody waits for any more. */
  hand(claims: ReadonlyArray<Claim>): ReadonlyArray<Claim> {
    let handed = 0
    for (const claim of claims) {
      const taker = this.next()
      if (taker === undefined) break
      handed++
      taker.claim = claim
      taker.resume?.(Effect.succeed(claim))
    }
    return claims.slice(handed)
  }

  private next(): Taker | undefined {
    for (const taker of this.waiting) {
      this.waiting.delete(taker)
      return taker
    }
    return undefined
  }

  /** Wants nothing any more. The last one ends the waiting. */
  leave(taker: Taker): void {
    if (this.waiting.delete(taker) && this.waiting.size === 0) this.idle()
  }

  private idle(): void {
    this.blocked?.interruptUnsafe()
    this.nudge.openUnsafe()
  }

  /** There is an element, or has been; or none for a while. */
  unblocked(): void {
    this.blocked = undefined
    this.nudge.openUnsafe()
  }

  fail(error: PersistedQueueError): void {
    for (let taker = this.next(); taker !== undefined; taker = this.next()) taker.resume?.(Effect.fail(error))
    this.idle()
  }

  /** Whether the loop goes on. When it does not, the next taker starts it again: nothing comes in between. */
  keepPolling(): boolean {
    this.polled = this.waiting.size > 0
    return this.polled
  }

  beginTurn(): void {
    this.waits = -1
    this.nudge.closeUnsafe()
  }

  /** Until there is something to do before the time that the loop waits for. */
  until(millis: number): Effect.Effect<void> {
    this.waits = millis
    return this.nudge.await
  }

  /** This process has offered an element: the loop looks at once, sooner than the server could say so. */
  offered(): void {
    this.isOfferedHere = true
    this.nudge.openUnsafe()
  }

  /** Whether there is something to do. */
  get isNudged(): boolean {
    return this.nudge.isOpen()
  }

  /** This process has put off an element: the loop looks again, if it would come too late. */
  dueIn(millis: number): void {
    if (millis < this.waits) this.nudge.openUnsafe()
  }
}

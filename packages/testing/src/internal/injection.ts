/**
 * A fault in force, and whom it hit.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Fault } from "../Fault.ts"
import { Signal } from "./signal.ts"

export class Injection {
  readonly fault: Fault
  private readonly connections = new Set<number>()
  private readonly changed = new Signal()

  constructor(fault: Fault) {
    this.fault = fault
  }

  get hitCount(): number {
    return this.connections.size
  }

  /** Whether it has struck as often as it may. */
  get isSpent(): boolean {
    return "times" in this.fault && this.hitCount >= this.fault.times
  }

  /** Marks a connection; gives whether it is hit for the first time. */
  mark(connection: number): boolean {
    if (this.connections.has(connection)) return false
    this.connections.add(connection)
    return true
  }

  /** To be called after `mark`, once the state of the proxy is complete. */
  announce(): void {
    this.changed.notify()
  }

  readonly awaitHit: Effect.Effect<void> = Effect.suspend(() =>
    this.changed.waitFor(() => (this.hitCount > 0 ? Exit.void : undefined))
  )
}

/**
 * Fibers that wait for plain mutable state to become what they need.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"

/**
 * The state's owner calls `notify` after each change, with the change complete: resuming a fiber runs it inside the
 * call.
 */
export class Signal {
  private readonly checks = new Set<() => void>()

  notify(): void {
    // A check that succeeds leaves the set; one that is added meanwhile has looked already.
    for (const check of Array.from(this.checks)) check()
  }

  /** Suspends until `attempt` gives an exit: tried now and after each change. */
  waitFor<A, E>(attempt: () => Exit.Exit<A, E> | undefined): Effect.Effect<A, E> {
    return Effect.callback<A, E>((resume) => {
      const check = () => {
        if (!this.checks.has(check)) return
        const exit = attempt()
        if (exit === undefined) return
        this.checks.delete(check)
        resume(exit)
      }
      this.checks.add(check)
      check()
      return Effect.sync(() => {
        this.checks.delete(check)
      })
    })
  }
}

/**
 * The listeners to the events of a supervision tree. Publishing costs nothing when there are none.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { LastCrash, SupervisorEvent } from "../../Supervisor.ts"

/** The number of events that wait for a slow listener before the oldest are dropped. */
const CAPACITY = 4096

export class EventHub {
  /** The last child of the tree that crashed. */
  lastCrash: LastCrash | undefined = undefined
  private queues: Set<Queue.Queue<SupervisorEvent, Cause.Done>> | undefined = undefined
  private closed = false

  get isObserved(): boolean {
    return this.queues !== undefined && this.queues.size > 0
  }

  publish(event: SupervisorEvent): void {
    for (const queue of this.queues ?? []) Queue.offerUnsafe(queue, event)
  }

  /** Ends the streams after what waits in them. */
  close(): void {
    this.closed = true
    for (const queue of this.queues ?? []) Queue.endUnsafe(queue)
    this.queues = undefined
  }

  get stream(): Stream.Stream<SupervisorEvent> {
    return Stream.callback<SupervisorEvent>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            if (this.closed) Queue.endUnsafe(queue)
            else (this.queues ??= new Set()).add(queue)
          }),
          () => Effect.sync(() => this.queues?.delete(queue))
        ),
      { bufferSize: CAPACITY, strategy: "sliding" }
    )
  }
}

/** The hub of the tree a supervisor belongs to; a root makes its own. */
export const CurrentHub = Context.Reference<EventHub | undefined>("@relive/otp/EventHub", {
  defaultValue: () => undefined
})

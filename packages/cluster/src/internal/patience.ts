/**
 * The deadline of a subscription of a cluster, whose names may be at several nodes, one after the other.
 *
 * @internal
 */
import { RedisError, TimeoutError } from "@relive/core/RedisError"
import type { SubscribeOptions } from "@relive/core/RedisPubSub"
import type { ClusterState } from "./state.ts"

/** How long the first confirmation may take. */
export class Patience {
  private readonly state: ClusterState
  private readonly millis: number
  private readonly deadline: number
  private isOver = false

  constructor(state: ClusterState, millis: number) {
    this.state = state
    this.millis = millis
    this.deadline = state.now() + millis
  }

  /** The names were confirmed: from now on there is no deadline. */
  confirmed(): void {
    this.isOver = true
  }

  get isLate(): boolean {
    return !this.isOver && this.state.now() > this.deadline
  }

  /** The options for one node. */
  at(options: SubscribeOptions | undefined): SubscribeOptions {
    const left = this.deadline - this.state.now()
    return { ...options, timeout: this.isOver || left === Infinity ? "infinite" : Math.max(left, 1) }
  }

  error(command: string): RedisError {
    return new RedisError({
      reason: new TimeoutError({ phase: "queued", delivery: "unsent", command, timeoutMillis: this.millis })
    })
  }
}

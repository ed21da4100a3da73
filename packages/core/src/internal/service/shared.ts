/**
 * The parts that several connections to one server share: a waiting room, and the leases. See `RedisConnection.Shared`.
 *
 * @internal
 */
import type * as ChildSpec from "@relive/otp/ChildSpec"
import type * as Registry from "@relive/otp/Registry"
import type { LeaseCounts, Shared } from "../../RedisConnection.ts"
import type { Subscribe } from "../../RedisPubSub.ts"
import type { Resolved } from "../../RedisOptions.ts"
import type { Service } from "../../RedisService.ts"
import type { Connection } from "../connection/connection.ts"
import type { Leases } from "../connection/leases.ts"
import { makeSubscribe } from "../pubsub/stream.ts"
import type { Subscribers } from "../pubsub/subscribers.ts"

export class ServerGroup implements Shared {
  readonly waiting: Connection
  readonly leasing: Leases
  readonly children: ReadonlyArray<ChildSpec.ChildSpec<unknown, Registry.Registry>>

  readonly subscribe: Subscribe

  /** Wraps the services over them, where spans or metrics are on. */
  readonly observe: (service: Service) => Service

  constructor(
    waiting: Connection,
    leasing: Leases,
    subscribers: Subscribers,
    children: ReadonlyArray<ChildSpec.ChildSpec<unknown, Registry.Registry>>,
    observe: (service: Service) => Service
  ) {
    this.waiting = waiting
    this.observe = observe
    this.leasing = leasing
    this.subscribe = makeSubscribe(subscribers)
    this.children = children
  }

  get options(): Resolved {
    return this.waiting.options
  }

  get leases(): LeaseCounts {
    return this.leasing.status
  }

  readonly close = (): void => this.waiting.close()
}

/** The interface is public, its only implementation is not. */
export const serverGroupOf = (shared: Shared): ServerGroup => {
  if (shared instanceof ServerGroup) return shared
  throw new TypeError("Not made by RedisConnection.makeShared")
}

/**
 * The connections for pub/sub of one service: the one that all its subscriptions share, started by the first of them, and one
 * more for each that may be suspended. They are children of one supervisor.
 *
 * @internal
 */
import type * as ChildSpec from "@relive/otp/ChildSpec"
import type { Registry } from "@relive/otp/Registry"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { RedisError } from "../../RedisError.ts"
import { Annex } from "../connection/annex.ts"
import type { Companion, Connection } from "../connection/connection.ts"
import { connectionError } from "../errors.ts"
import { Subscriber } from "./subscriber.ts"
import type { Subscription } from "./subscription.ts"

/** The child spec of one connection for pub/sub. */
export type SubscriberSpec = (subscriber: Subscriber) => ChildSpec.ChildSpec<unknown, Registry>

export class Subscribers implements Companion {
  private readonly owner: Connection
  private readonly spec: SubscriberSpec
  private all: Set<Subscriber> | undefined = undefined
  private shared: Subscriber | undefined = undefined
  /** Where they live. */
  readonly annex = new Annex("pubsub", () => this.stopped())

  constructor(owner: Connection, spec: SubscriberSpec) {
    this.owner = owner
    this.spec = spec
    owner.attach(this)
  }

  /** How long a subscription that does not say it may wait for its first confirmation, in milliseconds. */
  get timeoutMillis(): number {
    return this.owner.options.timeoutMillis
  }

  /** Ends the subscriptions that have waited for too long. Returns when to look again. */
  sweep(now: number): number {
    let next = Infinity
    for (const subscriber of this.all ?? []) next = Math.min(next, subscriber.sweep(now))
    return next
  }

  /** All subscriptions end. */
  private stopped(): void {
    this.shared = undefined
    for (const subscriber of this.all ?? []) subscriber.close(this.closed())
    this.all = undefined
  }

  /** Subscribes until the scope closes. What the server says of it, the subscription is told. */
  open(subscription: Subscription, suspends: boolean): Effect.Effect<void, RedisError, Scope.Scope> {
    return Effect.uninterruptible(
      Effect.gen({ self: this }, function* () {
        const supervisor = this.owner.isClosing ? undefined : yield* this.annex.open
        if (supervisor === undefined || this.owner.isClosing) return yield* Effect.fail(this.closed())
        let subscriber = suspends ? undefined : this.shared
        const isNew = subscriber === undefined || !subscriber.open
        if (subscriber === undefined || isNew) {
          subscriber = new Subscriber({
            id: suspends ? "suspendable" : "subscriber",
            idleMillis: suspends ? 0 : this.owner.options.leaseIdleMillis,
            only: suspends ? subscription : undefined
          })
          if (!suspends) this.shared = subscriber
          ;(this.all ??= new Set()).add(subscriber)
        }
        const chosen = subscriber
        // Never early: both moments are whole milliseconds.
        subscription.deadline = this.owner.now() + Math.ceil(subscription.timeoutMillis) + 1
        this.owner.deadlines.watch(subscription.wakeBy)
        chosen.add(subscription)
        yield* Effect.addFinalizer(() => Effect.sync(() => chosen.remove(subscription)))
        if (isNew) {
          yield* Effect.mapError(supervisor.startChild(this.spec(chosen)), () => {
            chosen.close(this.closed())
            return this.closed()
          })
        }
      })
    )
  }

  /** A connection has ended, for good. */
  ended(subscriber: Subscriber): void {
    this.all?.delete(subscriber)
    if (this.shared === subscriber) this.shared = undefined
    subscriber.close(this.closed())
  }

  private closed(): RedisError {
    return connectionError(
      { kind: "shutdown", address: this.owner.address, detail: "the connection is closing" },
      "unsent"
    )
  }
}

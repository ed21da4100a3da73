/**
 * The place of a member: it outlives the connections that fill it one after the other.
 *
 * @internal
 */
import type { RedisConnection } from "@relive/core/RedisConnection"
import { emptyStatus } from "@relive/core/RedisService"
import type { ConnectionState } from "@relive/core/RedisService"
import * as Inspectable from "effect/Inspectable"
import type { Member, MemberStatus } from "../RedisPool.ts"

/** Strategies of users get these into their hands: printing one shows what it says, not the calls in its queue. */
export class MemberSlot extends Inspectable.Class implements Member {
  readonly index: number
  private readonly address: string
  /** The present one, or the last there was. */
  connection: RedisConnection | undefined = undefined

  constructor(index: number, address: string) {
    super()
    this.index = index
    this.address = address
  }

  toJSON(): unknown {
    return { _tag: "Member", index: this.index, state: this.state, queued: this.queued, inFlight: this.inFlight }
  }

  get state(): ConnectionState {
    return this.connection?.state ?? "closed"
  }

  get queued(): number {
    return this.connection?.queued ?? 0
  }

  get inFlight(): number {
    return this.connection?.inFlight ?? 0
  }

  /** The commands that a call would have to wait behind. */
  get load(): number {
    const connection = this.connection
    return connection === undefined ? 0 : connection.inFlight + connection.queued
  }

  /** Whether there is a connection that is not going. */
  get isOpen(): boolean {
    const state = this.state
    return state !== "closed" && state !== "draining"
  }

  get isReady(): boolean {
    return this.state === "ready"
  }

  get isAccepting(): boolean {
    return this.connection?.accepting ?? false
  }

  get status(): MemberStatus {
    const status = this.connection?.status ?? emptyStatus("closed", this.address)
    return { index: this.index, ...status }
  }
}

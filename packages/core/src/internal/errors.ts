/**
 * Errors without stack traces: the trace would show our reader fiber, and cost ten times as much as the error.
 *
 * @internal
 */
import * as Exit from "effect/Exit"
import { ConnectionError, RedisArgumentError, RedisError } from "../RedisError.ts"
import type { ConnectionErrorKind, Delivery, Reason } from "../RedisError.ts"

/** Runs `make` with the capture of stacks off. */
export const withoutStack = <A>(make: () => A): A => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = limit
  }
}

export const redisError = (reason: Reason): RedisError => withoutStack(() => new RedisError({ reason }))

export const failure = (reason: Reason): Exit.Exit<never, RedisError> => Exit.fail(redisError(reason))

export const argumentError = (detail: string): RedisError =>
  withoutStack(() => new RedisError({ reason: new RedisArgumentError({ detail }) }))

export interface ConnectionFailure {
  readonly kind: ConnectionErrorKind
  readonly address: string
  readonly detail: string
  readonly cause?: unknown
  readonly received?: number
}

export const connectionError = (failed: ConnectionFailure, delivery: Delivery): RedisError =>
  withoutStack(
    () =>
      new RedisError({
        reason: new ConnectionError({
          kind: failed.kind,
          delivery,
          address: failed.address,
          detail: failed.detail,
          ...(failed.received === undefined ? {} : { received: failed.received }),
          ...(failed.cause === undefined ? {} : { cause: failed.cause })
        })
      })
  )

/** The at most two shared errors of one end of a session, made when first needed. */
export class SharedFailure {
  private readonly failed: ConnectionFailure
  private unsentExit: Exit.Exit<never, RedisError> | undefined = undefined
  private unknownExit: Exit.Exit<never, RedisError> | undefined = undefined

  constructor(failed: ConnectionFailure) {
    this.failed = failed
  }

  get unsent(): Exit.Exit<never, RedisError> {
    return (this.unsentExit ??= Exit.fail(connectionError(this.failed, "unsent")))
  }

  get unknown(): Exit.Exit<never, RedisError> {
    return (this.unknownExit ??= Exit.fail(connectionError(this.failed, "unknown")))
  }

  /** Of a pipeline that had a part of its replies: it has an error of its own. */
  cut(received: number): Exit.Exit<never, RedisError> {
    return Exit.fail(connectionError({ ...this.failed, received }, "unknown"))
  }
}

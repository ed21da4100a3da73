/**
 * The options of a call: they are checked here, and `timeout` is read, in milliseconds.
 *
 * @internal
 */
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as CommandTable from "../../CommandTable.ts"
import type { RedisError } from "../../RedisError.ts"
import type { CallOptions, LeaseOptions } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { argumentError } from "../errors.ts"
import { durationOrInfinite } from "../options/kinds.ts"

const timeoutKind = durationOrInfinite(0)

const names: ReadonlySet<string> = new Set(["timeout", "decode", "retry", "route", "readFrom", "schema"])

const sources: ReadonlyArray<unknown> = ["primary", "replica", "preferReplica"]

/** For callers without type checking: a misspelt option fails instead of being ignored. */
const wrongOption = (options: CallOptions): RedisError | undefined => {
  if (!Predicate.isObject(options)) {
    return argumentError('The options of a call must be a record like { timeout: "1 second" }')
  }
  for (const name of Object.keys(options)) {
    if (names.has(name)) continue
    return argumentError(`A call has no option ${JSON.stringify(name)}; it has ${[...names].join(", ")}`)
  }
  const { decode, readFrom, retry } = options
  if (decode !== undefined && decode !== "text" && decode !== "bytes") {
    return argumentError('The option `decode` must be "text" or "bytes"')
  }
  if (readFrom !== undefined && !sources.some((source) => source === readFrom)) {
    return argumentError('The option `readFrom` of a call must be "primary", "replica" or "preferReplica"')
  }
  return retry === undefined || retry === false || isRetry(retry) ? undefined : argumentError(retryMust)
}

const retryMust = 'The option `retry` must be false or { for: "unsent" | "readOnly" | "any", schedule? }'

const isRetry = (retry: unknown): boolean =>
  Predicate.isObject(retry) &&
  (retry.for === "unsent" || retry.for === "readOnly" || retry.for === "any") &&
  (retry.schedule === undefined || Schedule.isSchedule(retry.schedule))

/** A timeout of 0 becomes 1 ms, because 0 means "no deadline" in a `Call`. */
const atLeastOne = (millis: number): number => Math.max(millis, 1)

/** Milliseconds of a call's `timeout` (`Infinity` for none), or the error that names what is wrong with its options. */
export const callTimeoutMillis = (options: CallOptions | undefined, inherited: number): number | RedisError => {
  if (options === undefined) return atLeastOne(inherited)
  const wrong = wrongOption(options)
  if (wrong !== undefined) return wrong
  const { timeout } = options
  if (timeout === undefined) return atLeastOne(inherited)
  const millis = timeoutKind.check(timeout)
  return millis === undefined ? argumentError(`The option \`timeout\` must be ${timeoutKind.must}`) : atLeastOne(millis)
}

const leaseNames: ReadonlySet<string> = new Set(["timeout", "route"])

/** Milliseconds to wait for a lease at most (`Infinity` for no limit), or the error that names what is wrong. */
export const leaseTimeoutMillis = (options: LeaseOptions | undefined, inherited: number): number | RedisError => {
  if (options === undefined) return atLeastOne(inherited)
  if (typeof options !== "object" || options === null) {
    return argumentError('The options of a lease must be a record like { timeout: "1 second" }')
  }
  for (const name of Object.keys(options)) {
    if (leaseNames.has(name)) continue
    return argumentError(`A lease has no option ${JSON.stringify(name)}; it has ${[...leaseNames].join(", ")}`)
  }
  const { timeout } = options
  return callTimeoutMillis({ timeout }, inherited)
}

/** How long the server may block on these commands in all, in milliseconds; `Infinity` for ever. */
export const blockingMillis = (commands: ReadonlyArray<Resp.Command>): number => {
  let sum = 0
  for (const command of commands) {
    const millis = CommandTable.blockingTimeoutMillis(command)
    sum += millis === 0 ? Infinity : (millis ?? 0)
  }
  return sum
}

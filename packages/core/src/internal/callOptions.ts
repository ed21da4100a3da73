/**
 * The option `timeout` of a call, in milliseconds.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { RedisError } from "../RedisError.ts"
import type { CallOptions } from "../RedisService.ts"
import { argumentError } from "./errors.ts"

const badTimeout = (): RedisError =>
  argumentError(
    'The option `timeout` must be a duration above zero, in milliseconds when it is a number, or "infinite"'
  )

const millisOf = (input: Duration.Input): number | undefined =>
  Option.getOrUndefined(Option.map(Duration.fromInput(input), Duration.toMillis))

/** Milliseconds of a call's `timeout` (`Infinity` for none), or the error that names it. */
export const callTimeoutMillis = (options: CallOptions | undefined, inherited: number): number | RedisError => {
  const timeout = options?.timeout
  if (timeout === undefined) return inherited
  if (timeout === "infinite") return Infinity
  const millis = typeof timeout === "number" ? timeout : millisOf(timeout)
  return millis !== undefined && millis > 0 ? millis : badTimeout()
}

/** What is left of a deadline, as the option: above zero, so that the call itself finds that it is over. */
export const timeoutOption = (millis: number): number | "infinite" =>
  millis === Infinity ? "infinite" : Math.max(millis, 1)

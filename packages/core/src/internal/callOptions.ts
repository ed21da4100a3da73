/**
 * The options of a call: their names are checked here, and `timeout` is read, in milliseconds.
 *
 * @internal
 */
import * as CommandTable from "../CommandTable.ts"
import type { RedisError } from "../RedisError.ts"
import type { CallOptions } from "../RedisService.ts"
import type * as Resp from "../Resp.ts"
import { argumentError } from "./errors.ts"
import { durationOrInfinite } from "./optionKinds.ts"

const timeoutKind = durationOrInfinite(0)

const names: ReadonlySet<string> = new Set(["timeout", "decode", "retry", "route", "schema"])

/** For callers whom no types hold: a name that is misspelt would otherwise do nothing. */
const unknownOption = (options: CallOptions): RedisError | undefined => {
  for (const name of Object.keys(options)) {
    if (names.has(name)) continue
    return argumentError(`A call has no option ${JSON.stringify(name)}; it has ${[...names].join(", ")}`)
  }
  return undefined
}

/** None at all is as soon as can be told. (In a `Call` 0 is no deadline.) */
const atLeastOne = (millis: number): number => Math.max(millis, 1)

/** Milliseconds of a call's `timeout` (`Infinity` for none), or the error that names what is wrong with its options. */
export const callTimeoutMillis = (options: CallOptions | undefined, inherited: number): number | RedisError => {
  if (options === undefined) return atLeastOne(inherited)
  const unknown = unknownOption(options)
  if (unknown !== undefined) return unknown
  const { timeout } = options
  if (timeout === undefined) return atLeastOne(inherited)
  const millis = timeoutKind.check(timeout)
  return millis === undefined ? argumentError(`The option \`timeout\` must be ${timeoutKind.must}`) : atLeastOne(millis)
}

/** The longest that `timeout` takes. */
const longest = 2 ** 31 - 1

/** What is left of a deadline, as the option: above zero, so that the call itself finds that it is over. */
export const timeoutOption = (millis: number): number | "infinite" =>
  millis > longest ? "infinite" : Math.max(millis, 1)

/** How long the server may block on these commands in all, in milliseconds; `Infinity` for ever. */
export const blockingMillis = (commands: ReadonlyArray<Resp.Command>): number => {
  let sum = 0
  for (const command of commands) {
    const millis = CommandTable.blockingTimeoutMillis(command)
    sum += millis === 0 ? Infinity : (millis ?? 0)
  }
  return sum
}

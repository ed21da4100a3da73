/**
 * How long the demo runs and what it asks of itself; the flags are for trying it out, `npm run demo` needs none.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"

export interface Settings {
  /** How long things are broken, in seconds. */
  readonly seconds: number
  /** The number of faults that are tried in that time. */
  readonly faults: number
  /** The number of them that must have ended a session that was ready, or the demo fails. */
  readonly minimumFaults: number
  /** The number of calls that must have been made, or the demo fails. */
  readonly minimumCalls: number
}

/**
 * The connection's own options for a short show: the defaults are made for production, where a session counts as stable
 * after ten seconds and the backoff ends at three.
 */
export const recovery = {
  backoffFirst: "20 millis",
  backoffInitial: "50 millis",
  backoffFactor: 1.5,
  backoffCap: "300 millis",
  stableAfter: "300 millis"
} as const

export const recoveryText =
  `backoff: at once (up to ${recovery.backoffFirst}) after a session that was ready for ${recovery.stableAfter}, ` +
  `else ${recovery.backoffInitial} times ${recovery.backoffFactor}, at most ${recovery.backoffCap}`

/** The arguments make no sense; the message says which. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {}

const defaults = { seconds: 15, faults: 10 }

const positive = (name: string, text: string | undefined, fallback: number): number => {
  const value = text === undefined ? fallback : Number(text)
  if (!Number.isFinite(value) || value <= 0) throw new Error(`--${name} must be a number above zero, not "${text}"`)
  return value
}

const read = (args: ReadonlyArray<string>): Settings => {
  const { values } = parseArgs({
    args: [...args],
    options: { seconds: { type: "string" }, faults: { type: "string" } }
  })
  const seconds = positive("seconds", values.seconds, defaults.seconds)
  const faults = Math.ceil(positive("faults", values.faults, defaults.faults))
  return {
    seconds,
    faults,
    // 8 of 10, and 20 000 in 15 seconds.
    minimumFaults: Math.ceil(faults * 0.8),
    minimumCalls: Math.round((20_000 * seconds) / defaults.seconds)
  }
}

/** Reads `--seconds N` and `--faults N`. */
export const parse = (args: ReadonlyArray<string>): Effect.Effect<Settings, UsageError> =>
  Effect.try({
    try: () => read(args),
    catch: (error) => new UsageError({ message: error instanceof Error ? error.message : String(error) })
  })

/**
 * When to dial again: the pure policy behind a connection's backoff.
 *
 * - A session that was ready for `stableAfter` is replaced at once, give or take a jitter, so that a fleet does not dial in
 *   one instant.
 * - After that the delay starts at the initial one and is multiplied each time up to the cap; jitter (0.8 to 1.2) is
 *   applied before the cap, so the cap is never passed.
 * - A refusal that the server will repeat (a wrong password, no such database) is retried at the cap: credentials rotate.
 *
 * @internal
 */

/** The options of the policy, in milliseconds. */
export interface BackoffOptions {
  readonly backoffFirstMillis: number
  readonly backoffInitialMillis: number
  readonly backoffFactor: number
  readonly backoffCapMillis: number
}

/** How a session ended, as far as the next dial is concerned. */
export type Ended = "stable" | "unstable" | "refused"

/**
 * The delay in milliseconds before dial number `attempt` (0 is the first after a stable session) and `random` from [0, 1).
 */
export const delayMillis = (options: BackoffOptions, ended: Ended, attempt: number, random: number): number => {
  if (ended === "refused") return options.backoffCapMillis
  if (ended === "stable") return Math.min(options.backoffFirstMillis * random, options.backoffCapMillis)
  const jitter = 0.8 + 0.4 * random
  // A large exponent is Infinity, and the cap makes it the cap.
  const grown = options.backoffInitialMillis * options.backoffFactor ** Math.max(0, attempt - 1) * jitter
  return Math.min(grown, options.backoffCapMillis)
}

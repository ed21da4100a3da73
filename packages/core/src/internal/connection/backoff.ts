/**
 * When to dial again: the pure policy behind a connection's backoff.
 *
 * - A session that was ready is replaced at once, give or take a jitter, so that a fleet does not dial in one instant. When it
 *   was ready for less than `stableAfter`, and so was the one before it, then no sooner than the initial delay after it was
 *   ready: a server that lets us in and puts us out is dialled ten times a second at most, and that does not get less.
 * - After a dial or a handshake that failed the delay starts at the initial one and is multiplied each time up to the cap;
 *   jitter (0.8 to 1.2) is applied before the cap, so the cap is never passed.
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

/** How a session ended, as far as the next dial is concerned: `unstable` when it never was ready. */
export type Ended = "ready" | "unstable" | "refused"

/** The delay in milliseconds before dial number `attempt` (1 after the first that failed), and `random` from [0, 1). */
export const delayMillis = (options: BackoffOptions, ended: Ended, attempt: number, random: number): number => {
  if (ended === "refused") return options.backoffCapMillis
  if (ended === "ready") return Math.min(options.backoffFirstMillis * random, options.backoffCapMillis)
  const jitter = 0.8 + 0.4 * random
  // A large exponent is Infinity, and the cap makes it the cap.
  const grown = options.backoffInitialMillis * options.backoffFactor ** Math.max(0, attempt - 1) * jitter
  return Math.min(grown, options.backoffCapMillis)
}

/**
 * The delay of a connection that misses what happens while it waits, as a subscriber does: a tenth of how long it is away
 * already, and never more than the others', but for the first two seconds 200 ms; from dial to dial, so that one that took
 * its whole time is followed by the next at once.
 */
export const eagerDelayMillis = (delay: number, downMillis: number, dialMillis: number): number =>
  Math.max(0, Math.min(delay, Math.max(200, downMillis / 10)) - dialMillis)

/** The delay after a session that was ready for `readyMillis` only, as was the one before it. */
export const youngDelayMillis = (options: BackoffOptions, readyMillis: number, random: number): number =>
  Math.max(
    delayMillis(options, "ready", 0, random),
    // The attempt counts dials that failed, and there was none.
    delayMillis(options, "unstable", 1, random) - readyMillis
  )

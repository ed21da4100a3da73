/**
 * In how many parts the callers of a batch of replies are resumed: what a part has submitted is written before the next one
 * is resumed, so that the server works while we do. Without that, client and server take turns.
 *
 * A write costs some microseconds on either side, so a batch must be worth it. What it costs is measured, not guessed: the
 * callers' own code is a part of it.
 *
 * @internal
 */

/** A batch that keeps us busy for less than this stays whole. */
const wholeMillis = 0.06

/** A larger one is halved at least; parts of this length are long enough, */
const partMillis = 0.15

/** and so are parts of so many calls, before anything is known of what they cost. */
const partCalls = 128

/** How many callers are resumed before the next write, of `calls` that cost `callMillis` each. */
export const partOf = (calls: number, callMillis: number): number => {
  const millis = calls * callMillis
  if (millis < wholeMillis) return partCalls
  return Math.min(partCalls, Math.ceil(calls / Math.max(2, millis / partMillis)))
}

/**
 * What a call costs, learned from the batches of late: this one had `calls` and took `millis`. More than a part lasts makes no
 * difference, and would only be remembered for longer after a pause.
 */
export const learned = (callMillis: number, calls: number, millis: number): number =>
  callMillis + (Math.min(millis / calls, partMillis) - callMillis) / 4

/**
 * The choice of the node of a shard for a read. Pure.
 *
 * @internal
 */

/** The facts about a node that can be read from. */
export interface Reader {
  /** Whether it is connected, and was not found loading or without its primary in the last second. */
  readonly isReady: boolean
  /** The commands that a call would have to wait behind. */
  readonly load: number
  /** A smoothed round trip, in milliseconds; `undefined` while it is not known. */
  readonly roundTrip: number | undefined
}

export type Policy = "primary" | "preferReplica" | "replica" | "any" | "nearest"

const least = <A extends Reader>(
  readers: ReadonlyArray<A>,
  of: (reader: A) => number,
  random: () => number
): A | undefined => {
  let best: A | undefined
  let lowest = Infinity
  let equal = 0
  for (const reader of readers) {
    const value = of(reader)
    if (value > lowest) continue
    equal = value === lowest ? equal + 1 : 1
    lowest = value
    // Each of the equal ones is as likely.
    if (equal === 1 || random() * equal < 1) best = reader
  }
  return best
}

/**
 * The reader, or `undefined` when the policy leaves none. With the policy `primary` it is the primary, whatever its state.
 */
export const chooseReader = <A extends Reader>(
  policy: Policy,
  primary: A,
  replicas: ReadonlyArray<A>,
  random: () => number
): A | undefined => {
  if (policy === "primary") return primary
  const ready = replicas.filter((replica) => replica.isReady)
  if (policy === "nearest" || policy === "any") {
    const all = primary.isReady ? [primary, ...ready] : ready
    const of = policy === "any" ? (reader: A) => reader.load : (reader: A) => reader.roundTrip ?? 0
    return least(all, of, random) ?? primary
  }
  const chosen = least(ready, (reader) => reader.load, random)
  return chosen ?? (policy === "preferReplica" ? primary : undefined)
}

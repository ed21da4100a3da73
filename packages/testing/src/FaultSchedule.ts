/**
 * Schedules of faults that replay exactly: a schedule is plain data, made from a seed before anything runs.
 *
 * Kinds are dealt like cards: each turn shuffles all of them and deals every one once, so that none is rare, and the
 * order still varies. The entries may be of any type, so that a soak can mix faults of a proxy with its own, such as
 * killing the server.
 *
 * **Example** (The same seed, the same schedule)
 *
 * ```ts
 * import { FaultSchedule } from "@relive/testing"
 *
 * const options = { seed: 7, durationMillis: 10_000, kinds: FaultSchedule.lossFaults }
 *
 * JSON.stringify(FaultSchedule.make(options)) === JSON.stringify(FaultSchedule.make(options)) // => true
 * ```
 *
 * @since 0.1.0
 */
import * as Fault from "./Fault.ts"
import * as SeededRandom from "./internal/random.ts"

/**
 * A source of random choices that replays from its seed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Random {
  /** A number from 0 up to, but not including, 1. */
  readonly next: () => number
  /** An integer from `min` to `max`, both included. */
  readonly integer: (min: number, max: number) => number
  /** One of the items. */
  readonly pick: <A>(items: readonly [A, ...ReadonlyArray<A>]) => A
}

/**
 * Makes one fault of a kind, with its numbers chosen at random.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind<A> = (random: Random) => A

/**
 * An entry of a schedule: from `atMillis` after the start, for `forMillis`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry<A> {
  readonly atMillis: number
  readonly forMillis: number
  readonly value: A
}

/**
 * Entries in the order of their start.
 *
 * @since 0.1.0
 * @category models
 */
export type Schedule<A> = ReadonlyArray<Entry<A>>

/**
 * From which a schedule is made. Ranges are `[min, max]` in milliseconds, both included.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<A> {
  /** Any integer. */
  readonly seed: number
  /** No entry is in force after this. */
  readonly durationMillis: number
  /** The kinds to deal. */
  readonly kinds: ReadonlyArray<Kind<A>>
  /** The time for which an entry is in force, in milliseconds. Default: 50 to 300. */
  readonly lengthMillis?: readonly [min: number, max: number] | undefined
  /** From the end of an entry to the start of the next; negative numbers make them overlap. Default: 100 to 900. */
  readonly gapMillis?: readonly [min: number, max: number] | undefined
}

/**
 * Makes a schedule.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A>(options: Options<A>): Schedule<A> => {
  const random = SeededRandom.make(options.seed)
  const [minLength, maxLength] = options.lengthMillis ?? [50, 300]
  const [minGap, maxGap] = options.gapMillis ?? [100, 900]
  const deal = dealer(options.kinds, random)
  const entries: Array<Entry<A>> = []
  let atMillis = Math.max(0, random.integer(minGap, maxGap))
  for (;;) {
    const kind = deal()
    const forMillis = random.integer(minLength, maxLength)
    if (kind === undefined || atMillis + forMillis > options.durationMillis) return entries
    entries.push({ atMillis, forMillis, value: kind(random) })
    // At least a millisecond on, whatever the ranges say: the schedule must end.
    atMillis += Math.max(1, forMillis + random.integer(minGap, maxGap))
  }
}

/** Deals the items in shuffled rounds. */
const dealer = <A>(items: ReadonlyArray<A>, random: Random): (() => A | undefined) => {
  let round: Array<A> = []
  return () => {
    if (round.length === 0) round = shuffled(items, random)
    return round.pop()
  }
}

const shuffled = <A>(items: ReadonlyArray<A>, random: Random): Array<A> =>
  items
    .map((item) => ({ item, order: random.next() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)

const direction = (random: Random): Fault.Direction => random.pick(["toServer", "toClient"])
const directions = (random: Random): Fault.Directions => random.pick(["toServer", "toClient", "both"])

/**
 * All loss faults, each a kind of its own: cuts by FIN and by RST, half-close, delay, throttle, slow-loris, black hole,
 * stall, and both refusals. Byte counts are up to 4 000, so that cuts fall inside of replies and commands too.
 *
 * @since 0.1.0
 * @category kinds
 */
export const lossFaults: ReadonlyArray<Kind<Fault.Fault>> = [
  (random) => Fault.cut({ direction: direction(random), afterBytes: random.integer(0, 4_000), how: "fin" }),
  (random) => Fault.cut({ direction: direction(random), afterBytes: random.integer(0, 4_000), how: "rst" }),
  (random) => Fault.halfClose({ direction: direction(random), afterBytes: random.integer(0, 4_000) }),
  (random) =>
    Fault.delay(random.integer(1, 100), { direction: directions(random), jitterMillis: random.integer(0, 50) }),
  (random) => Fault.throttle(random.integer(1_000, 100_000), directions(random)),
  (random) => Fault.slowLoris(random.integer(1, 10), directions(random)),
  (random) => Fault.blackHole(directions(random)),
  (random) => Fault.stall(directions(random)),
  () => Fault.refuse("closed"),
  () => Fault.refuse("reset")
]

const corruptions: ReadonlyArray<readonly [Fault.CorruptPlace, Fault.CorruptKind]> = [
  ["type", "flip"],
  ["type", "insert"],
  ["type", "duplicate"],
  ["length", "flip"],
  ["length", "insert"],
  ["cr", "flip"],
  ["cr", "insert"],
  ["cr", "duplicate"],
  ["lf", "flip"],
  ["lf", "insert"],
  ["lf", "duplicate"]
]

/**
 * All corruption faults, each combination of place and change a kind of its own.
 *
 * @since 0.1.0
 * @category kinds
 */
export const corruptionFaults: ReadonlyArray<Kind<Fault.Fault>> = corruptions.map(
  ([at, how]) =>
    (random: Random) =>
      Fault.corrupt({ at, how, afterBytes: random.integer(0, 4_000) })
)

/** Medians and quartiles of a few samples. */

/** A median with its spread. */
export interface Summary {
  readonly median: number
  /** First and third quartile. */
  readonly quartiles: readonly [number, number]
  readonly samples: number
}

const quantile = (sorted: ReadonlyArray<number>, p: number): number => {
  const position = (sorted.length - 1) * p
  const low = sorted[Math.floor(position)] ?? Number.NaN
  const high = sorted[Math.ceil(position)] ?? Number.NaN
  return low + (high - low) * (position - Math.floor(position))
}

/** The middle of the samples and how far they spread. */
export const summarise = (samples: ReadonlyArray<number>): Summary => {
  const sorted = samples.toSorted((a, b) => a - b)
  return {
    median: quantile(sorted, 0.5),
    quartiles: [quantile(sorted, 0.25), quantile(sorted, 0.75)],
    samples: sorted.length
  }
}

/** Four significant digits: more would be noise. */
export const rounded = (value: number): number => Number(value.toPrecision(4))

/** How much better `ours` is than `theirs`: above 1 is always better. */
export const advantage = (ours: number, theirs: number, higherIsBetter: boolean): number =>
  higherIsBetter ? ours / theirs : theirs / ours

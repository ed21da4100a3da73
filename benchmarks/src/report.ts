/** The result: one JSON object for programs, one table for people. */
import { clientNames, variantNames, type AnyName, type ClientName, type VariantName } from "./clients/client.ts"
import type { Cpu, Metric, Sample, Scenario } from "./scenarios.ts"
import { advantage, rounded, summarise } from "./statistics.ts"

/** What is known about one client in one row. */
export interface Spread {
  readonly quartiles: readonly [number, number]
  readonly samples: number
}

/** One row: medians of all clients, and how ours compares. Ratios above 1 always mean that ours is better. */
export interface Row {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly higherIsBetter: boolean
  readonly gated: boolean
  readonly median: Readonly<Record<ClientName, number | null>>
  readonly toBestPeer: number | null
  readonly toBare: number | null
  readonly bestPeer: ClientName | null
  /** Medians of settings that are shown beside and do not count as peers. */
  readonly variants: Readonly<Record<VariantName, number | null>>
  readonly spread: Readonly<Partial<Record<AnyName, Spread>>>
  /** Medians of the CPU time per command in these rounds, in microseconds. */
  readonly cpu?: Readonly<Partial<Record<AnyName, Cpu>>> | undefined
}

/** The whole result. */
export interface Report {
  readonly node: string
  readonly server: string
  readonly workloads: ReadonlyArray<Row>
}

const isOurs = (name: ClientName) => name === "relive" || name === "relive-pool"

/** Medians of what was sampled, `null` for who took no part. */
const medians = <N extends AnyName>(
  names: ReadonlyArray<N>,
  of: (name: N) => number | null
): Record<N, number | null> => {
  const entries: Partial<Record<N, number | null>> = {}
  for (const name of names) entries[name] = of(name)
  return entries as Record<N, number | null>
}

/** Builds the row of one metric from the samples of its rounds. */
export const toRow = (
  scenario: Scenario,
  metric: Metric,
  samples: ReadonlyMap<AnyName, ReadonlyArray<Sample>>
): Row => {
  const spread: Partial<Record<AnyName, Spread>> = {}
  const cpu: Partial<Record<AnyName, Cpu>> = {}
  const middle = new Map<AnyName, number>()
  for (const [name, taken] of samples) {
    const values = taken.flatMap((sample) => sample.values[metric.name] ?? [])
    if (values.length === 0) continue
    const { median, quartiles, samples: count } = summarise(values)
    middle.set(name, rounded(median))
    spread[name] = { quartiles: [rounded(quartiles[0]), rounded(quartiles[1])], samples: count }
    const used = taken.flatMap((sample) => sample.cpu ?? [])
    if (used.length > 0) {
      cpu[name] = {
        client: rounded(summarise(used.map(({ client }) => client)).median),
        server: rounded(summarise(used.map(({ server }) => server)).median)
      }
    }
  }
  const of = (name: AnyName) => middle.get(name) ?? null
  const better = (a: number, b: number) => (metric.higherIsBetter ? a > b : a < b)
  let bestPeer: ClientName | null = null
  let best: number | null = null
  for (const name of clientNames) {
    const value = of(name)
    if (isOurs(name) || name === "bare" || value === null) continue
    if (best !== null && !better(value, best)) continue
    bestPeer = name
    best = value
  }
  const ours = of(scenario.ours)
  const ratio = (theirs: number | null) =>
    ours === null || theirs === null ? null : rounded(advantage(ours, theirs, metric.higherIsBetter))
  return {
    name: metric.name,
    title: metric.title,
    unit: metric.unit,
    higherIsBetter: metric.higherIsBetter,
    gated: scenario.gated,
    median: medians(clientNames, of),
    toBestPeer: ratio(best),
    toBare: ratio(of("bare")),
    bestPeer,
    variants: medians(variantNames, of),
    spread,
    ...(Object.keys(cpu).length > 0 ? { cpu } : {})
  }
}

const figure = (value: number | null): string =>
  value === null ? "–" : value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)))

/** The report as a table of plain text. */
export const table = (report: Report): string => {
  const variants = variantNames.filter((name) => report.workloads.some((row) => row.variants[name] !== null))
  const head = ["workload", "unit", ...clientNames, ...variants, "to best peer", "to bare"]
  const rows = report.workloads.map((row) => [
    row.name,
    row.unit,
    ...clientNames.map((name) => figure(row.median[name])),
    ...variants.map((name) => figure(row.variants[name])),
    row.toBestPeer === null ? "–" : row.toBestPeer.toFixed(2),
    row.toBare === null ? "–" : row.toBare.toFixed(2)
  ])
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) =>
    cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ")
  return [`Node ${report.node}, server ${report.server}; medians`, line(head), ...rows.map(line)].join("\n")
}

/** The result: one JSON object for programs, one table for people. */
import { clientNames, variantNames, type AnyName, type ClientName, type VariantName } from "./clients/client.ts"
import type { Cpu, Metric, Sample, Scenario } from "./scenarios.ts"
import { advantage, rounded, summarise } from "./statistics.ts"
import type { Surroundings } from "./surroundings.ts"
import { targetOf, type Target } from "./targets.ts"

/** The figures of one client in one row: of all rounds, and the median of each of its processes. */
export interface Spread {
  readonly quartiles: readonly [number, number]
  readonly samples: number
  readonly processes: ReadonlyArray<number>
}

/** The rounds of one client, by process. Those with the same number ran in the same minutes. */
export type Samples = ReadonlyMap<AnyName, ReadonlyArray<ReadonlyArray<Sample>>>

/**
 * One row: of each client the median of the medians of its processes, and how ours compares. Ratios above 1 always mean that
 * ours is better.
 */
export interface Row {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly higherIsBetter: boolean
  readonly gated: boolean
  readonly median: Readonly<Record<ClientName, number | null>>
  readonly toBestPeer: number | null
  /** The ratio of those processes that ran in the same minutes: the least and the greatest. With 1 between, nothing is known. */
  readonly toBestPeerRange: readonly [number, number] | null
  readonly toBare: number | null
  /** To the bare client with each call as an `Effect.callback`. */
  readonly toFloor: number | null
  readonly bestPeer: ClientName | null
  /** Medians of settings that are shown beside and do not count as peers. */
  readonly variants: Readonly<Record<VariantName, number | null>>
  readonly spread: Readonly<Partial<Record<AnyName, Spread>>>
  /** Medians of the CPU time per command in these rounds, in microseconds. */
  readonly cpu?: Readonly<Partial<Record<AnyName, Cpu>>> | undefined
  /** The CPU time of the peer whose client needs least, by ours. */
  readonly cpuToBestPeer?: number | undefined
  /** Bytes of the JavaScript heap per command. */
  readonly bytes?: Readonly<Partial<Record<AnyName, number>>> | undefined
  readonly target?: Target | undefined
  /** The missed targets, in words. */
  readonly missed: ReadonlyArray<string>
}

/** The whole result. */
export interface Report {
  readonly surroundings: Surroundings
  readonly processes: number
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

const median = (values: ReadonlyArray<number>): number => summarise(values).median

/** One metric of one client, process by process. */
const valuesOf = (metric: Metric, processes: ReadonlyArray<ReadonlyArray<Sample>>): ReadonlyArray<number> =>
  processes.flatMap((rounds) => {
    const values = rounds.flatMap((sample) => sample.values[metric.name] ?? [])
    return values.length === 0 ? [] : [median(values)]
  })

const spreadOf = (metric: Metric, processes: ReadonlyArray<ReadonlyArray<Sample>>): Spread => {
  const { quartiles, samples } = summarise(processes.flat().flatMap((sample) => sample.values[metric.name] ?? []))
  return {
    quartiles: [rounded(quartiles[0]), rounded(quartiles[1])],
    samples,
    processes: valuesOf(metric, processes).map(rounded)
  }
}

const cpuOf = (processes: ReadonlyArray<ReadonlyArray<Sample>>): Cpu | undefined => {
  const used = processes.flat().flatMap((sample) => sample.cpu ?? [])
  if (used.length === 0) return undefined
  return {
    client: rounded(median(used.map(({ client }) => client))),
    server: rounded(median(used.map(({ server }) => server)))
  }
}

const bytesOf = (processes: ReadonlyArray<ReadonlyArray<Sample>>): number | undefined => {
  const bytes = processes.flat().flatMap((sample) => sample.bytes ?? [])
  return bytes.length === 0 ? undefined : rounded(median(bytes))
}

const isPeer = (name: ClientName) => !isOurs(name) && name !== "bare"

/** The peer that is best by a number of each. */
const bestOf = (of: (name: ClientName) => number | null, higherIsBetter: boolean): ClientName | null => {
  let best: ClientName | null = null
  for (const name of clientNames) {
    const value = isPeer(name) ? of(name) : null
    const known = best === null ? null : of(best)
    if (value !== null && (known === null || (higherIsBetter ? value > known : value < known))) best = name
  }
  return best
}

const missedOf = (
  target: Target | undefined,
  ours: number | null,
  toBestPeer: number | null,
  toFloor: number | null,
  bytes: number | undefined
): ReadonlyArray<string> => {
  if (target === undefined) return []
  const missed: Array<string> = []
  const least = (what: string, wanted: number | undefined, reached: number | null | undefined): void => {
    if (wanted !== undefined && reached != null && reached < wanted) missed.push(`${what} ${reached} < ${wanted}`)
  }
  const most = (what: string, wanted: number | undefined, reached: number | null | undefined): void => {
    if (wanted !== undefined && reached != null && reached > wanted) missed.push(`${what} ${reached} > ${wanted}`)
  }
  least("to best peer", target.toBestPeer, toBestPeer)
  least("to floor", target.toFloor, toFloor)
  most("bytes", target.atMost?.bytes, bytes)
  most("value", target.atMost?.value, ours)
  return missed
}

/** Builds the row of one metric from the samples of its rounds. */
export const toRow = (scenario: Scenario, metric: Metric, where: Surroundings, samples: Samples): Row => {
  const spread: Partial<Record<AnyName, Spread>> = {}
  const cpu: Partial<Record<AnyName, Cpu>> = {}
  const bytes: Partial<Record<AnyName, number>> = {}
  const values = new Map<AnyName, ReadonlyArray<number>>()
  for (const [name, processes] of samples) {
    const own = valuesOf(metric, processes)
    if (own.length === 0) continue
    values.set(name, own)
    spread[name] = spreadOf(metric, processes)
    const used = cpuOf(processes)
    if (used !== undefined) cpu[name] = used
    const allocated = bytesOf(processes)
    if (allocated !== undefined) bytes[name] = allocated
  }
  const { higherIsBetter } = metric
  const of = (name: AnyName) => {
    const own = values.get(name)
    return own === undefined ? null : rounded(median(own))
  }
  const ours = of(scenario.ours)
  const ratio = (theirs: number | null) =>
    ours === null || theirs === null ? null : rounded(advantage(ours, theirs, higherIsBetter))
  const bestPeer = bestOf(of, higherIsBetter)
  const [mine, theirs] = [values.get(scenario.ours) ?? [], (bestPeer && values.get(bestPeer)) ?? []]
  const pairs = mine.flatMap((value, i) => {
    const other = theirs[i]
    return other === undefined ? [] : [rounded(advantage(value, other, higherIsBetter))]
  })
  const toBestPeer = ratio(bestPeer === null ? null : of(bestPeer))
  const toFloor = ratio(of("effect-floor"))
  const cheapest = bestOf((name) => cpu[name]?.client ?? null, false)
  const [ourCpu, theirCpu] = [cpu[scenario.ours]?.client, cheapest === null ? undefined : cpu[cheapest]?.client]
  const target = targetOf(where, metric.name)
  return {
    name: metric.name,
    title: metric.title,
    unit: metric.unit,
    higherIsBetter,
    gated: scenario.gated,
    median: medians(clientNames, of),
    toBestPeer,
    toBestPeerRange: pairs.length === 0 ? null : [Math.min(...pairs), Math.max(...pairs)],
    toBare: ratio(of("bare")),
    toFloor,
    bestPeer,
    variants: medians(variantNames, of),
    spread,
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(ourCpu !== undefined && theirCpu !== undefined ? { cpuToBestPeer: rounded(theirCpu / ourCpu) } : {}),
    ...(Object.keys(bytes).length > 0 ? { bytes } : {}),
    ...(target === undefined ? {} : { target }),
    missed: missedOf(target, ours, toBestPeer, toFloor, bytes[scenario.ours])
  }
}

const figure = (value: number | null): string =>
  value === null ? "–" : value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)))

const ratioOf = (value: number | null | undefined): string => (value == null ? "–" : value.toFixed(2))

const rangeOf = (range: Row["toBestPeerRange"]): string =>
  range === null ? "" : `${range[0].toFixed(2)}–${range[1].toFixed(2)}`

/** The report as a table of plain text. */
export const table = (report: Report): string => {
  const variants = variantNames.filter((name) => report.workloads.some((row) => row.variants[name] !== null))
  const names = clientNames.filter((name) => report.workloads.some((row) => row.median[name] !== null))
  const head = [
    "workload",
    "unit",
    ...names,
    ...variants,
    "to best peer",
    "by process",
    "CPU",
    "to bare",
    "to floor",
    "B",
    "missed"
  ]
  const rows = report.workloads.map((row) => [
    row.name,
    row.unit,
    ...names.map((name) => figure(row.median[name])),
    ...variants.map((name) => figure(row.variants[name])),
    ratioOf(row.toBestPeer),
    rangeOf(row.toBestPeerRange),
    ratioOf(row.cpuToBestPeer),
    ratioOf(row.toBare),
    ratioOf(row.toFloor),
    figure(row.bytes?.relive ?? row.bytes?.["relive-pool"] ?? null),
    row.missed.join(", ")
  ])
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) =>
    cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ")
  const title = `Node ${report.node}, server ${report.server}, ${report.surroundings}; medians over ${report.processes} processes`
  return [title, line(head), ...rows.map(line)].join("\n")
}

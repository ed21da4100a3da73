/**
 * Draws a result of the benchmarks as SVG: one small chart of horizontal bars per row, the median as the bar and the
 * quartiles as a whisker, grouped into files by what is measured.
 *
 *     node benchmarks/src/charts.ts FILE.json [FOLDER]
 *
 * FILE is what the benchmarks printed (the last line counts), FOLDER is docs.
 */
import { BarChart, CustomChart } from "echarts/charts"
import { GridComponent, TitleComponent } from "echarts/components"
import { init, use } from "echarts/core"
import { SVGRenderer } from "echarts/renderers"
import { readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { clientNames, variantNames, type AnyName } from "./clients/client.ts"
import type { Report, Row } from "./report.ts"

use([BarChart, CustomChart, GridComponent, TitleComponent, SVGRenderer])

const COLUMNS = 3
const CELL_WIDTH = 400
const LABELS = 145
const NUMBERS = 70
const LINE = 22
const CELL_TITLE = 62
const HEAD = 50
const GAP = 14

const colours: Readonly<Record<AnyName, string>> = {
  relive: "#c2410c",
  "relive-pool": "#c2410c",
  "relive-spans": "#e8a582",
  "relive-no-timeout": "#e8a582",
  "relive-metrics": "#e8a582",
  "relive-schema": "#e8a582",
  "node-redis": "#3b6ea5",
  "node-redis-no-timeout": "#9dbbd8",
  ioredis: "#5b8c85",
  "ioredis-auto": "#5b8c85",
  "ioredis-in-effect": "#9cbdb8",
  glide: "#7d6b9e",
  bare: "#b5b5b5",
  "effect-floor": "#d6d6d6"
}

/** The bars of a row, from the top: clients with a value. */
const barsOf = (row: Row) =>
  [...clientNames, ...variantNames].flatMap((name) => {
    const value = row.median[name as keyof Row["median"]] ?? row.variants[name as keyof Row["variants"]]
    return value === null || value === undefined ? [] : [{ name, value, spread: row.spread[name]?.quartiles }]
  })

const figure = (value: number): string =>
  value >= 10_000 ? `${Math.round(value / 1000).toLocaleString("en")} k` : String(Number(value.toPrecision(3)))

/** A file of charts. */
interface Sheet {
  readonly file: string
  readonly title: string
  readonly rows: ReadonlyArray<Row>
}

const draw = (report: Report, sheet: Sheet): string => {
  const cells = sheet.rows.map((row) => ({ row, bars: barsOf(row) })).filter(({ bars }) => bars.length > 0)
  const heightOf = (line: number) =>
    CELL_TITLE +
    GAP +
    LINE * Math.max(...cells.slice(line * COLUMNS, (line + 1) * COLUMNS).map(({ bars }) => bars.length))
  const tops = [HEAD]
  for (let line = 0; line * COLUMNS < cells.length; line++) tops.push((tops[line] ?? 0) + heightOf(line))
  const width = Math.min(COLUMNS, Math.max(1, cells.length)) * CELL_WIDTH + GAP
  const height = (tops.at(-1) ?? HEAD) + GAP
  const placed = cells.map((cell, i) => ({
    ...cell,
    left: GAP + (i % COLUMNS) * CELL_WIDTH,
    top: tops[Math.floor(i / COLUMNS)] ?? HEAD
  }))
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height })
  chart.setOption({
    animation: false,
    backgroundColor: "#ffffff",
    title: [
      {
        text: sheet.title,
        subtext: `Node ${report.node}, ${report.server}; median and quartiles`,
        left: GAP,
        top: 6,
        itemGap: 4,
        textStyle: { fontSize: 15 }
      },
      ...placed.map(({ row, left, top }) => ({
        text: row.name,
        subtext: `${row.title}\n${row.unit}, ${row.higherIsBetter ? "more" : "less"} is better`,
        left,
        top: top + 4,
        itemGap: 3,
        textStyle: { fontSize: 12 },
        subtextStyle: { fontSize: 10, lineHeight: 13, width: CELL_WIDTH - GAP, overflow: "truncate" as const }
      }))
    ],
    grid: placed.map(({ bars, left, top }) => ({
      left: left + LABELS,
      top: top + CELL_TITLE,
      width: CELL_WIDTH - LABELS - NUMBERS,
      height: bars.length * LINE
    })),
    xAxis: placed.map((_, gridIndex) => ({ type: "value" as const, gridIndex, min: 0, show: false })),
    yAxis: placed.map(({ bars }, gridIndex) => ({
      type: "category" as const,
      gridIndex,
      inverse: true,
      data: bars.map(({ name }) => name),
      axisTick: { show: false },
      axisLine: { show: false },
      axisLabel: { fontSize: 11, color: "#333333" }
    })),
    series: placed.flatMap(({ bars }, index) => [
      {
        type: "bar" as const,
        xAxisIndex: index,
        yAxisIndex: index,
        barWidth: 13,
        data: bars.map(({ name, value }) => ({ value, itemStyle: { color: colours[name] } }))
      },
      {
        type: "custom" as const,
        xAxisIndex: index,
        yAxisIndex: index,
        z: 3,
        data: bars.map(({ value, spread }, i) => [spread?.[0] ?? value, i, spread?.[1] ?? value]),
        encode: { x: [0, 2], y: 1 },
        renderItem: (
          _: unknown,
          api: {
            readonly value: (dimension: number) => number | string
            readonly coord: (point: Array<number>) => Array<number>
          }
        ) => {
          const line = Number(api.value(1))
          const [x1 = 0, y = 0] = api.coord([Number(api.value(0)), line])
          const [x2 = 0] = api.coord([Number(api.value(2)), line])
          const text = figure(bars[line]?.value ?? 0)
          return {
            type: "group" as const,
            children: [
              { type: "line" as const, shape: { x1, y1: y, x2, y2: y }, style: { stroke: "#222222", lineWidth: 1.5 } },
              {
                type: "text" as const,
                style: { text, x: x2 + 6, y, fontSize: 11, fill: "#333333", verticalAlign: "middle" as const }
              }
            ]
          }
        }
      }
    ])
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

const isThroughput = ({ unit }: Row) => unit.endsWith("/s")
const isLatency = ({ name }: Row) => name.startsWith("latency-")

const sheetsOf = ({ workloads }: Report): ReadonlyArray<Sheet> => [
  { file: "performance-throughput.svg", title: "Throughput", rows: workloads.filter(isThroughput) },
  { file: "performance-latency.svg", title: "Latency at a fixed load", rows: workloads.filter(isLatency) },
  {
    file: "performance-cost.svg",
    title: "What it costs",
    rows: workloads.filter((row) => !isThroughput(row) && !isLatency(row))
  }
]

const main = (): void => {
  const [file, folder = "docs"] = process.argv.slice(2)
  if (file === undefined) throw new Error("node benchmarks/src/charts.ts FILE.json [FOLDER]")
  const from = process.env.INIT_CWD ?? process.cwd()
  const last = readFileSync(resolve(from, file), "utf8").trim().split("\n").at(-1)
  const report: Report = JSON.parse(last ?? "")
  for (const sheet of sheetsOf(report)) {
    if (sheet.rows.length === 0) continue
    const path = join(resolve(from, folder), sheet.file)
    writeFileSync(path, `${draw(report, sheet)}\n`)
    process.stdout.write(`${path}\n`)
  }
}

try {
  main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

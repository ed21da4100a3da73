/**
 * The functions to be generated: each command with its name in the program, its arguments and its replies.
 */
import * as overrides from "../overrides.ts"
import { summaries } from "../summaries.ts"
import { type Facts, readFacts } from "./facts.ts"
import { type Plan, planOf } from "./plans.ts"
import { type Field, type Signature, signatureOf } from "./shapes.ts"

export interface Family {
  /** The file, and the category of its functions in the documentation. */
  readonly file: string
  readonly category: string
  /** The public namespace that it belongs to. */
  readonly namespace: "Commands" | "Json" | "Search" | "TimeSeries" | "Bloom" | "VectorSet"
}

const core = (file: string, category: string): Family => ({ file, category, namespace: "Commands" })

const families: Readonly<Record<string, Family>> = {
  array: core("arrays", "arrays"),
  bitmap: core("bitmaps", "bitmaps"),
  cluster: core("cluster", "cluster"),
  connection: core("connection", "connection"),
  generic: core("keys", "keys"),
  geo: core("geo", "geo"),
  hash: core("hashes", "hashes"),
  hyperloglog: core("hyperLogLog", "hyperloglog"),
  list: core("lists", "lists"),
  pubsub: core("pubsub", "pubsub"),
  scripting: core("scripting", "scripting"),
  server: core("server", "server"),
  set: core("sets", "sets"),
  "sorted-set": core("sortedSets", "sorted sets"),
  stream: core("streams", "streams"),
  string: core("strings", "strings"),
  transactions: core("transactions", "transactions"),
  bf: { file: "bloomFilters", category: "bloom filters", namespace: "Bloom" },
  cf: { file: "cuckooFilters", category: "cuckoo filters", namespace: "Bloom" },
  cms: { file: "countMinSketches", category: "count-min sketches", namespace: "Bloom" },
  tdigest: { file: "tDigests", category: "t-digests", namespace: "Bloom" },
  topk: { file: "topK", category: "top-k", namespace: "Bloom" },
  json: { file: "json", category: "json", namespace: "Json" },
  search: { file: "search", category: "search", namespace: "Search" },
  suggestion: { file: "suggestions", category: "suggestions", namespace: "Search" },
  timeseries: { file: "timeSeries", category: "time series", namespace: "TimeSeries" },
  vector_set: { file: "vectorSets", category: "vector sets", namespace: "VectorSet" }
}

/** Groups of module commands that the metadata calls `module`. */
const groupOf = (facts: Facts): string => {
  if (facts.group !== "module") return facts.group
  const prefix = facts.name.slice(0, facts.name.indexOf("."))
  return { BF: "bf", CF: "cf", FT: "search", JSON: "json" }[prefix] ?? "server"
}

export interface Function {
  readonly facts: Facts
  readonly name: string
  readonly family: Family
  readonly signature: Signature
  readonly cases: ReadonlyArray<overrides.Case>
}

const upperFirst = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

const camelOf = (text: string): string =>
  text
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "")
    .map((word, index) => (index === 0 ? word : upperFirst(word)))
    .join("")

/** `XINFO STREAM` is `xinfoStream`, `JSON.GET` `get` of its namespace, `BF.ADD` `bfAdd`. */
const functionName = (facts: Facts, family: Family): string => {
  const dot = facts.name.indexOf(".")
  if (dot === -1 || family.namespace === "Bloom") return camelOf(facts.name)
  return camelOf(facts.name.slice(dot + 1))
}

const isPlan = (replies: overrides.Replies): replies is Plan => !Array.isArray(replies)

const repliesOf = (facts: Facts): ReadonlyArray<overrides.Case> => {
  const own = overrides.replies[facts.name]
  if (own !== undefined) return isPlan(own) ? [{ plan: own }] : own
  if (facts.name.endsWith(" HELP")) return [{ plan: overrides.words }]
  const plan = facts.reply === undefined ? "it has no schema" : planOf(facts.reply, facts.group === "array")
  if (typeof plan === "string") throw new Error(`${facts.name}: no reply: ${plan}. Write one in overrides.ts`)
  return [{ plan }]
}

const readingField = (name: string): Field => ({
  name,
  own: name,
  wire: [],
  shape: { tag: "flag" },
  optional: true,
  reading: true
})

export const functionOf = (facts: Facts): Function => {
  const family = families[groupOf(facts)]
  const signature = signatureOf(facts, overrides.argumentTrees.get(facts.name) ?? facts.arguments ?? [])
  const reading = (overrides.readingOptions[facts.name] ?? []).map(readingField)
  return {
    facts,
    family,
    name: functionName(facts, family),
    signature: { ...signature, options: [...signature.options, ...reading] },
    cases: repliesOf(facts)
  }
}

export const allFacts = (): ReadonlyMap<string, Facts> => {
  const facts = readFacts()
  return new Map([...facts, ...overrides.additions.map((added) => [added.name, added] as const)])
}

const left = new Set([...overrides.refused, ...overrides.containers, ...overrides.internal])

export const allFunctions = (): ReadonlyArray<Function> =>
  [...allFacts().values()].filter(({ name }) => !left.has(name)).map(functionOf)

/** The overrides that have no effect any more. */
export const idleOverrides = (): ReadonlyArray<string> => {
  const facts = readFacts()
  const unknown = [
    ...overrides.refused,
    ...overrides.containers,
    ...overrides.internal,
    ...overrides.argumentTrees.keys(),
    ...Object.keys(overrides.replies),
    ...Object.keys(overrides.readingOptions)
  ].filter((name) => !facts.has(name) && !overrides.additions.some((added) => added.name === name))
  const known = overrides.additions.filter(({ name }) => facts.has(name)).map(({ name }) => name)
  const sameArguments = [...overrides.argumentTrees].flatMap(([name, tree]) => {
    const one = facts.get(name)
    if (one === undefined) return []
    const before = attempt(() => JSON.stringify(signatureOf(one, one.arguments ?? [])))
    return before === JSON.stringify(signatureOf(one, tree)) ? [`${name} (arguments)`] : []
  })
  const sameReplies = Object.entries(overrides.replies).flatMap(([name, replies]) => {
    const schema = facts.get(name)?.reply
    if (schema === undefined || !isPlan(replies)) return []
    const before = planOf(schema, facts.get(name)?.group === "array")
    return typeof before !== "string" && before.code === replies.code && before.text === replies.text
      ? [`${name} (reply)`]
      : []
  })
  const all = allFunctions().map((one) => one.facts.name)
  const idle = Object.keys(summaries).flatMap((name) => (all.includes(name) ? [] : [`${name} (summary)`]))
  return [...unknown, ...known, ...sameArguments, ...sameReplies, ...idle]
}

/** Functions that nothing is said of. */
export const undescribed = (): ReadonlyArray<string> =>
  allFunctions().flatMap(({ facts }) => (facts.name in summaries || facts.name.endsWith(" HELP") ? [] : [facts.name]))

const attempt = <A>(run: () => A): A | undefined => {
  try {
    return run()
  } catch {
    return undefined
  }
}

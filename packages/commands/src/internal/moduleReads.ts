/**
 * Replies of the modules (JSON, search, time series, Bloom), which are one thing in RESP2 and another in RESP3.
 *
 * @internal
 */
import {
  boolean,
  double,
  either,
  integer,
  list,
  nullable,
  type PairsBytes,
  pairs,
  plain,
  type Reader,
  record,
  struct,
  text,
  word
} from "@relive/core/Reader"
import * as Resp from "@relive/core/Resp"
import type {
  Rec,
  SearchHit,
  SearchHitBytes,
  SearchReply,
  SearchReplyBytes,
  TimeSeries,
  TimeSeriesBytes,
  TimeSeriesInfo,
  TimeSeriesInfoBytes,
  TimeSeriesLatest,
  TimeSeriesLatestBytes,
  TimeSeriesSample
} from "../Reply.ts"
import { head } from "./coreReads.ts"

const shape = (expected: string): never => {
  throw new Resp.DecodeError("shape", `${expected} was expected`)
}

const arrayOf = (found: Resp.Reply, length: number): ReadonlyArray<Resp.Reply> =>
  Array.isArray(found) && found.length >= length ? found : shape(`an array of at least ${length}`)

// -----------------------------------------------------------------------------
// JSON
// -----------------------------------------------------------------------------

const numberOrNull = /* @__PURE__ */ nullable(double)

const isNumberOrNull = (value: unknown): value is number | null => typeof value === "number" || value === null

/** Numbers that RESP2 has as JSON text: of one value for a legacy path, of an array else. */
const parsedNumbers = (found: string): ReadonlyArray<number | null> | number | null => {
  let value: unknown
  try {
    value = JSON.parse(found)
  } catch {
    return shape("a JSON number or an array of them")
  }
  if (isNumberOrNull(value)) return value
  return Array.isArray(value) && value.every(isNumberOrNull) ? value : shape("a JSON number or an array of them")
}

const readNumbers = (found: Resp.Reply): ReadonlyArray<number | null> | number | null => {
  if (typeof found === "string" || found instanceof Uint8Array) return parsedNumbers(word.text(found))
  return Array.isArray(found) ? found.map((item) => numberOrNull.text(item)) : numberOrNull.text(found)
}

export const jsonNumbers: Reader<ReadonlyArray<number | null> | number | null> = {
  text: readNumbers,
  bytes: readNumbers
}

const readToggle = (found: Resp.Reply): boolean | null => {
  if (found === null) return null
  if (typeof found === "string" || found instanceof Uint8Array) {
    const name = word.text(found)
    return name === "true" || (name === "false" ? false : shape("true or false"))
  }
  return boolean.text(found)
}

const readToggles = (found: Resp.Reply): ReadonlyArray<boolean | null> | boolean | null =>
  Array.isArray(found) ? found.map(readToggle) : readToggle(found)

export const jsonToggles: Reader<ReadonlyArray<boolean | null> | boolean | null> = {
  text: readToggles,
  bytes: readToggles
}

const maybeWord = /* @__PURE__ */ nullable(word)

/** RESP3 nests the list once more. */
const flatTypes = (found: Resp.Reply): Resp.Reply => {
  const inner: Resp.Reply = Array.isArray(found) && found.length === 1 ? found[0] : null
  return Array.isArray(inner) ? inner : found
}

const types = /* @__PURE__ */ list(/* @__PURE__ */ nullable(text))

export const jsonTypes: Reader<
  ReadonlyArray<string | null> | string | null,
  ReadonlyArray<Uint8Array | null> | Uint8Array | null
> = {
  text: (found) => (Array.isArray(found) ? types.text(flatTypes(found)) : found === null ? null : text.text(found)),
  bytes: (found) => (Array.isArray(found) ? types.bytes(flatTypes(found)) : found === null ? null : text.bytes(found))
}

// -----------------------------------------------------------------------------
// Bloom
// -----------------------------------------------------------------------------

/** One number: alone, as `[n]`, or as a map of one. */
const readOneNumber = (found: Resp.Reply): number | null => {
  if (found instanceof Map && found.size === 1) return numberOrNull.text([...found.values()][0])
  if (!Array.isArray(found)) return numberOrNull.text(found)
  const last: Resp.Reply = found[found.length - 1]
  const one = found.length === 1 && Array.isArray(last) ? last : found
  return one.length === 1 || one.length === 2 ? numberOrNull.text(one[one.length - 1]) : shape("one number")
}

export const oneNumber: Reader<number | null> = { text: readOneNumber, bytes: readOneNumber }

// -----------------------------------------------------------------------------
// Vector sets and suggestions: lists of triples, flat in RESP2
// -----------------------------------------------------------------------------

const maybeText = /* @__PURE__ */ nullable(text)

type Triple = readonly [name: Resp.Reply, score: Resp.Reply, more: Resp.Reply]

const triplesOf = (found: Resp.Reply): ReadonlyArray<Triple> => {
  if (found instanceof Map) {
    return [...found].map(([name, value]): Triple => {
      const [score, more] = arrayOf(value, 2)
      return [name, score, more]
    })
  }
  const items = arrayOf(found, 0)
  // In bytes mode a map is a list of pairs.
  if (items.every((item) => Array.isArray(item) && item.length === 2)) {
    return items.map((item): Triple => {
      const [name, value] = arrayOf(item, 2)
      const [score, more] = arrayOf(value, 2)
      return [name, score, more]
    })
  }
  if (items.every(Array.isArray)) {
    return items.map((item): Triple => {
      const [name, score, more] = arrayOf(item, 3)
      return [name, score, more]
    })
  }
  if (items.length % 3 !== 0) return shape("a list of triples")
  return Array.from({ length: items.length / 3 }, (_, index): Triple => [
    items[3 * index],
    items[3 * index + 1],
    items[3 * index + 2]
  ])
}

/** Elements with their score and attributes, or suggestions with score and payload. */
export const similar: Reader<
  ReadonlyArray<readonly [string, number, string | null]>,
  ReadonlyArray<readonly [Uint8Array, number, Uint8Array | null]>
> = {
  text: (found) =>
    triplesOf(found).map(([name, score, more]) => [text.text(name), double.text(score), maybeText.text(more)]),
  bytes: (found) =>
    triplesOf(found).map(([name, score, more]) => [text.bytes(name), double.bytes(score), maybeText.bytes(more)])
}

// -----------------------------------------------------------------------------
// Time series
// -----------------------------------------------------------------------------

const readSample = (found: Resp.Reply): TimeSeriesSample => {
  const [timestamp, ...values] = arrayOf(found, 2)
  // Several aggregations may come as a list of their own.
  const [first, ...more] = (values.length === 1 && Array.isArray(values[0]) ? arrayOf(values[0], 1) : values).map(
    (value) => double.text(value)
  )
  return [integer.text(timestamp), first, ...more]
}

export const sample: Reader<TimeSeriesSample> = { text: readSample, bytes: readSample }

export const samples = /* @__PURE__ */ list(sample)

const labels = /* @__PURE__ */ record(maybeText)

/** The labels by which RESP2 tells how series were grouped. */
const reducer = "__reducer__"
const source = "__source__"

const withoutGrouping = (all: Rec<string | null>): Rec<string | null> => {
  const { [reducer]: _reducer, [source]: _source, ...rest } = all
  return Object.assign<Record<string, string | null>, Rec<string | null>>(Object.create(null), rest)
}

/** The parts of a series: labels first, samples last, and what RESP3 says in between. */
interface Parts {
  readonly labels: Resp.Reply
  readonly between: ReadonlyArray<Resp.Reply>
  readonly samples: Resp.Reply
}

const partsOf = (items: ReadonlyArray<Resp.Reply>): Parts => ({
  labels: items[0],
  between: items.slice(1, -1),
  samples: items[items.length - 1]
})

/** Keys and what belongs to them: a map, or a list of key and parts. */
const keyed = (found: Resp.Reply): ReadonlyArray<readonly [key: Resp.Reply, parts: Parts]> => {
  if (found instanceof Map) return [...found].map(([key, value]) => [key, partsOf(arrayOf(value, 2))])
  return arrayOf(found, 0).map((item) => {
    const [key, ...rest] = arrayOf(item, 2)
    // In bytes mode a map is a list of pairs.
    return [key, partsOf(rest.length === 1 ? arrayOf(rest[0], 2) : rest)]
  })
}

const isNamed = (found: Resp.Reply): boolean => {
  const [name] = pairs(word, plain).text(found)[0] ?? []
  return name === "sources"
}

/** The keys that were grouped, where RESP3 names them. */
const sourcesOf = (between: ReadonlyArray<Resp.Reply>): Resp.Reply | undefined => {
  const found = between.find(isNamed)
  return found === undefined ? undefined : pairs(word, plain).text(found)[0]?.[1]
}

const texts = /* @__PURE__ */ list(text)

const readSeries = (parts: Parts): TimeSeries => {
  const all = labels.text(parts.labels)
  const named = sourcesOf(parts.between)
  const joined = Object.hasOwn(all, source) ? all[source] : undefined
  const sources = named !== undefined ? texts.text(named) : joined?.split(",")
  return {
    labels: joined === undefined ? all : withoutGrouping(all),
    samples: samples.text(parts.samples),
    ...(sources === undefined ? {} : { sources })
  }
}

const readSeriesBytes = (parts: Parts): TimeSeriesBytes => {
  const all: PairsBytes<Uint8Array | null> = labels.bytes(parts.labels)
  const named = sourcesOf(parts.between)
  const joined = all.find(([name]) => word.bytes(name) === source)?.[1]
  const split = joined === undefined || joined === null ? undefined : word.bytes(joined).split(",")
  const sources = named !== undefined ? texts.bytes(named) : split?.map((key) => text.bytes(key))
  return {
    labels: all.filter(([name]) => ![reducer, source].includes(word.bytes(name))),
    samples: samples.bytes(parts.samples),
    ...(sources === undefined ? {} : { sources })
  }
}

const recordOf = <A>(entries: ReadonlyArray<readonly [string, A]>): Rec<A> => {
  const result: Record<string, A> = Object.create(null)
  for (const [name, value] of entries) result[name] = value
  return result
}

export const manySeries: Reader<Rec<TimeSeries>, PairsBytes<TimeSeriesBytes>> = {
  text: (found) => recordOf(keyed(found).map(([key, parts]) => [text.text(key), readSeries(parts)])),
  bytes: (found) => keyed(found).map(([key, parts]) => [text.bytes(key), readSeriesBytes(parts)])
}

const maybeSample = /* @__PURE__ */ head(sample)

export const latestSamples: Reader<Rec<TimeSeriesLatest>, PairsBytes<TimeSeriesLatestBytes>> = {
  text: (found) =>
    recordOf(
      keyed(found).map(([key, parts]) => [
        text.text(key),
        { labels: labels.text(parts.labels), sample: maybeSample.text(parts.samples) }
      ])
    ),
  bytes: (found) =>
    keyed(found).map(([key, parts]) => [
      text.bytes(key),
      { labels: labels.bytes(parts.labels), sample: maybeSample.bytes(parts.samples) }
    ])
}

export const seriesInfo: Reader<TimeSeriesInfo, TimeSeriesInfoBytes> = /* @__PURE__ */ struct({
  totalSamples: integer,
  memoryUsage: integer,
  firstTimestamp: integer,
  lastTimestamp: integer,
  retentionTime: integer,
  chunkCount: integer,
  chunkSize: integer,
  chunkType: word,
  duplicatePolicy: maybeWord,
  labels,
  sourceKey: maybeText,
  rules: plain
})

// -----------------------------------------------------------------------------
// Search
// -----------------------------------------------------------------------------

/** The parts asked for beside the documents: they change the stride of the RESP2 reply. */
export interface SearchFlags {
  readonly noContent?: boolean | undefined
  readonly withScores?: boolean | undefined
  readonly withPayloads?: boolean | undefined
  readonly withSortKeys?: boolean | undefined
}

/** A value of a field: text where it is text, else as it came. */
const fieldText: Reader<unknown> = { text: (found) => found, bytes: (found) => found }

const fields = /* @__PURE__ */ record(fieldText)

const score: Reader<unknown> = /* @__PURE__ */ either(double, plain)

const hit = /* @__PURE__ */ struct({
  id: text,
  score,
  payload: maybeText,
  sortkey: maybeText,
  extra_attributes: fields
})

const named = /* @__PURE__ */ struct({
  total_results: integer,
  results: /* @__PURE__ */ list(hit),
  warning: /* @__PURE__ */ list(plain)
})

/** A RESP3 reply: a map, which bytes mode has as a list of pairs. */
const isNamedReply = (found: Resp.Reply): boolean =>
  found instanceof Map || (Array.isArray(found) && found.length > 0 && Array.isArray(found[0]))

interface FlatHit {
  readonly id: Resp.Reply
  readonly more: ReadonlyArray<readonly [name: "score" | "payload" | "sortkey", value: Resp.Reply]>
  readonly fields: Resp.Reply | undefined
}

/** The documents of a RESP2 reply: each has its id, then what was asked for, then its fields. */
const flatHits = (items: ReadonlyArray<Resp.Reply>, flags: SearchFlags): ReadonlyArray<FlatHit> => {
  const names = [
    ...(flags.withScores === true ? (["score"] as const) : []),
    ...(flags.withPayloads === true ? (["payload"] as const) : []),
    ...(flags.withSortKeys === true ? (["sortkey"] as const) : [])
  ]
  const stride = 1 + names.length + (flags.noContent === true ? 0 : 1)
  if (items.length % stride !== 0) return shape("documents with what was asked for")
  return Array.from({ length: items.length / stride }, (_, index) => {
    const at = index * stride
    return {
      id: items[at],
      more: names.map((name, offset) => [name, items[at + 1 + offset]] as const),
      fields: flags.noContent === true ? undefined : items[at + stride - 1]
    }
  })
}

const nothing: Resp.Reply = []

const flatReply = <H>(found: Resp.Reply, flags: SearchFlags, read: (flat: FlatHit) => H) => {
  const [total, ...items] = arrayOf(found, 1)
  return {
    attributes: [],
    format: "STRING",
    results: flatHits(items, flags).map(read),
    total_results: integer.text(total),
    warning: []
  }
}

const textHit = ({ id, more, fields: values }: FlatHit): SearchHit => ({
  id: text.text(id),
  ...Object.fromEntries(
    more.map(([name, value]) => [name, name === "score" ? score.text(value) : maybeText.text(value)])
  ),
  ...(values === undefined ? {} : { extra_attributes: fields.text(values ?? nothing), values: [] })
})

const bytesHit = ({ id, more, fields: values }: FlatHit): SearchHitBytes => ({
  id: text.bytes(id),
  ...Object.fromEntries(
    more.map(([name, value]) => [name, name === "score" ? score.bytes(value) : maybeText.bytes(value)])
  ),
  ...(values === undefined ? {} : { extra_attributes: fields.bytes(values ?? nothing), values: [] })
})

export const searchReply = (flags: SearchFlags): Reader<SearchReply, SearchReplyBytes> => ({
  text: (found) => (isNamedReply(found) ? named.text(found) : flatReply(found, flags, textHit)),
  bytes: (found) => (isNamedReply(found) ? named.bytes(found) : flatReply(found, flags, bytesHit))
})

/** The rows of a RESP2 aggregation: a number, and fields of each row. */
const flatRows = <F>(found: Resp.Reply, read: (row: Resp.Reply) => F) => {
  const [total, ...rows] = arrayOf(found, 1)
  return {
    attributes: [],
    format: "STRING",
    results: rows.map((row) => ({ extra_attributes: read(row), values: [] })),
    total_results: integer.text(total),
    warning: []
  }
}

export const aggregateReply: Reader<SearchReply, SearchReplyBytes> = {
  text: (found) => (isNamedReply(found) ? named.text(found) : flatRows(found, (row) => fields.text(row))),
  bytes: (found) => (isNamedReply(found) ? named.bytes(found) : flatRows(found, (row) => fields.bytes(row)))
}

export const cursored = <A, B>(read: Reader<A, B>): Reader<readonly [A, number], readonly [B, number]> => ({
  text: (found) => {
    const [rows, cursor] = arrayOf(found, 2)
    return [read.text(rows), integer.text(cursor)]
  },
  bytes: (found) => {
    const [rows, cursor] = arrayOf(found, 2)
    return [read.bytes(rows), integer.bytes(cursor)]
  }
})

/** `[term, [[score, suggestion], …]]` in RESP2, a map of suggestion and score for each term in RESP3. */
const termsOf = (
  found: Resp.Reply
): ReadonlyArray<readonly [Resp.Reply, ReadonlyArray<readonly [Resp.Reply, Resp.Reply]>]> => {
  const results = found instanceof Map ? (found.get("results") ?? found) : found
  if (results instanceof Map) {
    return [...results].map(([term, suggestions]) => [
      term,
      arrayOf(suggestions, 0).flatMap((one) => pairs(plain, plain).text(one))
    ])
  }
  return arrayOf(results, 0).flatMap((item): ReturnType<typeof termsOf> => {
    const parts = arrayOf(item, 2)
    const [first, second] = parts
    if (parts.length === 2 && word.text(first) === "results") return termsOf(second)
    if (parts.length === 2) return [[first, arrayOf(second, 0).flatMap((one) => pairs(plain, plain).text(one))]]
    return [
      [
        second,
        arrayOf(parts[2], 0).map((one) => {
          const [rank, suggestion] = arrayOf(one, 2)
          return [suggestion, rank] as const
        })
      ]
    ]
  })
}

export const spellcheck: Reader<
  Rec<ReadonlyArray<readonly [string, number]>>,
  PairsBytes<ReadonlyArray<readonly [Uint8Array, number]>>
> = {
  text: (found) =>
    recordOf(
      termsOf(found).map(([term, all]) => [
        text.text(term),
        all.map(([suggestion, rank]) => [text.text(suggestion), double.text(rank)] as const)
      ])
    ),
  bytes: (found) =>
    termsOf(found).map(([term, all]) => [
      text.bytes(term),
      all.map(([suggestion, rank]) => [text.bytes(suggestion), double.bytes(rank)] as const)
    ])
}

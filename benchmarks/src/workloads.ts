/**
 * The workloads: which data they need, what one call is, what its reply must be. Values are derived from their index,
 * so that each reply can be checked against the key it was asked for.
 *
 * A workload's `call` gets a running number and must depend on nothing else. `accept` runs on every measured reply: it
 * is cheap, and it touches the value, so that a client cannot win by leaving the work for later. `expected` is the whole
 * truth and is compared before anything is timed.
 */
import { createHash } from "node:crypto"
import { familyOf, type Calls, type Shapes } from "./calls.ts"

/** A reply in a form that does not depend on the client. */
export type Expected =
  | { readonly kind: "value"; readonly value: string | Buffer | ReadonlyArray<string> }
  | { readonly kind: "batch"; readonly values: ReadonlyArray<string> }
  | { readonly kind: "hash"; readonly entries: ReadonlyArray<readonly [string, string]> }

/** Keys that must be on the server before the workload runs. */
export type Seed =
  | { readonly type: "string"; readonly key: string; readonly value: string }
  | { readonly type: "list"; readonly key: string; readonly values: ReadonlyArray<string> }
  | { readonly type: "hash"; readonly key: string; readonly entries: ReadonlyArray<readonly [string, string]> }

/** One workload: data, call and check. */
export interface Workload {
  readonly name: string
  readonly title: string
  /** Concurrent callers: that many fibers, or that many async functions, each with one call at a time. */
  readonly callers: number
  /** 1, or the size of a pool. */
  readonly connections: number
  /** Commands that one call stands for, where the unit is commands. */
  readonly commandsPerCall: number
  readonly unit: "commands/s" | "calls/s"
  /** Part of the quick run, with a target. */
  readonly gated: boolean
  /** Of Effect's persistence modules, which run on some of the clients. */
  readonly isFamily?: true | undefined
  /** `call(n)` repeats itself after this many numbers. */
  readonly distinct: number
  readonly seed: () => ReadonlyArray<Seed>
  readonly call: <P>(calls: Calls<P>, n: number) => P
  readonly accept: (reply: unknown, n: number) => boolean
  readonly expected: (n: number) => Expected
  /** The state that the server must have after the calls 0 … distinct − 1 ran. */
  readonly written: () => ReadonlyArray<readonly [key: string, value: string]>
}

const SMALL = 1000
const MEDIUM = 256
const LARGE = 4
const MEBI = 1024 * 1024

const range = <A>(length: number, f: (index: number) => A): Array<A> => Array.from({ length }, (_, index) => f(index))
const at = <A>(values: ReadonlyArray<A>, n: number): A => {
  const value = values[n % values.length]
  if (value === undefined) throw new RangeError(`no element ${n}`)
  return value
}
const text = (seed: number, length: number): string => {
  const word = `${seed.toString(36)}-`
  return word.repeat(Math.ceil(length / word.length)).slice(0, length)
}

const smallKeys = range(SMALL, (i) => `small:${i}`)
const smallValues = range(SMALL, (i) => i.toString(36).padStart(16, "v"))
const setKeys = range(SMALL, (i) => `set:${i}`)
const mediumKeys = range(MEDIUM, (i) => `medium:${i}`)
const mediumValues = range(MEDIUM, (i) => text(i + 1000, 1024))
const largeKeys = range(LARGE, (i) => `large:${i}`)
const utf8Keys = range(LARGE, (i) => `large-utf8:${i}`)
const listKey = "list"
const hashKey = "hash"
const pipelineKeys = range(SMALL / 100, (i) => smallKeys.slice(i * 100, i * 100 + 100))
const pipelineValues = range(SMALL / 100, (i) => smallValues.slice(i * 100, i * 100 + 100))
const transactionKeys = range(64, (i) => range(5, (j) => `transaction:${i}:${j}`))

const lazy = <A>(make: () => A): (() => A) => {
  let made: { readonly value: A } | undefined
  return () => (made ??= { value: make() }).value
}
const largeValues = lazy(() => range(LARGE, (i) => text(i + 1_000_000, MEBI)))
/** 2 % of the characters take three bytes; the length is one MiB of bytes, as near as whole characters allow. */
const utf8Values = lazy(() =>
  range(LARGE, (i) => {
    const pattern = `${text(i + 1000, 49)}€`
    return pattern.repeat(Math.floor(MEBI / Buffer.byteLength(pattern)))
  })
)
const listValues = lazy(() => range(10_000, (i) => `element:${i.toString().padStart(8, "0")}`))
const hashEntries = lazy(() => range(100, (i) => [`field:${i}`, text(i + 1000, 16)] as const))

const strings = (keys: ReadonlyArray<string>, values: ReadonlyArray<string>): ReadonlyArray<Seed> =>
  keys.map((key, i) => ({ type: "string", key, value: at(values, i) }))
const value = (of: string | Buffer | ReadonlyArray<string>): Expected => ({ kind: "value", value: of })
const nothing = () => []
const smallSeed = () => strings(smallKeys, smallValues)

const getSmall = {
  commandsPerCall: 1,
  unit: "commands/s",
  distinct: SMALL,
  seed: smallSeed,
  call: <P>(calls: Calls<P>, n: number) => calls.get(at(smallKeys, n)),
  accept: (reply: unknown, n: number) => reply === at(smallValues, n),
  expected: (n: number) => value(at(smallValues, n)),
  written: nothing
} as const

const ofFamily = {
  connections: 1,
  commandsPerCall: 1,
  unit: "calls/s",
  gated: false,
  isFamily: true,
  seed: nothing,
  written: nothing
} as const

/** Length and ends: enough to see a foreign reply, and reading a character makes the engine build the text. */
const sameEnds = (reply: unknown, wanted: string): boolean =>
  typeof reply === "string" &&
  reply.length === wanted.length &&
  reply.charCodeAt(0) === wanted.charCodeAt(0) &&
  reply.charCodeAt(wanted.length - 1) === wanted.charCodeAt(wanted.length - 1)

/** All workloads of the throughput kind, in the order they run. */
export const workloads: ReadonlyArray<Workload> = [
  { ...getSmall, name: "get-500", title: "GET, 16 B, 500 callers", callers: 500, connections: 1, gated: true },
  {
    name: "set-500",
    title: "SET, 16 B, 500 callers",
    callers: 500,
    connections: 1,
    commandsPerCall: 1,
    unit: "commands/s",
    gated: true,
    distinct: SMALL,
    seed: nothing,
    call: (calls, n) => calls.set(at(setKeys, n), at(smallValues, n)),
    accept: (reply) => reply === "OK",
    expected: () => value("OK"),
    written: () => setKeys.map((key, i) => [key, at(smallValues, i)] as const)
  },
  {
    name: "mixed-1k",
    title: "80 % GET, 20 % SET, 1 KiB, 64 callers",
    callers: 64,
    connections: 1,
    commandsPerCall: 1,
    unit: "commands/s",
    gated: true,
    distinct: MEDIUM * 5,
    seed: () => strings(mediumKeys, mediumValues),
    call: (calls, n) =>
      n % 5 === 4 ? calls.set(at(mediumKeys, n), at(mediumValues, n)) : calls.get(at(mediumKeys, n)),
    accept: (reply, n) => (n % 5 === 4 ? reply === "OK" : sameEnds(reply, at(mediumValues, n))),
    expected: (n) => value(n % 5 === 4 ? "OK" : at(mediumValues, n)),
    written: nothing
  },
  { ...getSmall, name: "sequential", title: "GET, 16 B, one caller", callers: 1, connections: 1, gated: true },
  {
    name: "pipeline-100",
    title: "pipeline of 100 GET, 4 callers",
    callers: 4,
    connections: 1,
    commandsPerCall: 100,
    unit: "commands/s",
    gated: true,
    distinct: pipelineKeys.length,
    seed: smallSeed,
    call: (calls, n) => calls.pipeline(at(pipelineKeys, n)),
    accept: (reply) => Array.isArray(reply) && reply.length === 100,
    expected: (n) => ({ kind: "batch", values: at(pipelineValues, n) }),
    written: nothing
  },
  {
    name: "large-value",
    title: "GET, 1 MiB of ASCII as text, 4 callers",
    callers: 4,
    connections: 1,
    commandsPerCall: 1,
    unit: "calls/s",
    gated: true,
    distinct: LARGE,
    seed: () => strings(largeKeys, largeValues()),
    call: (calls, n) => calls.get(at(largeKeys, n)),
    accept: (reply, n) => sameEnds(reply, at(largeValues(), n)),
    expected: (n) => value(at(largeValues(), n)),
    written: nothing
  },
  {
    name: "large-value-bytes",
    title: "GET, 1 MiB as bytes, 4 callers",
    callers: 4,
    connections: 1,
    commandsPerCall: 1,
    unit: "calls/s",
    gated: true,
    distinct: LARGE,
    seed: () => strings(largeKeys, largeValues()),
    call: (calls, n) => calls.getBytes(at(largeKeys, n)),
    accept: (reply, n) =>
      reply instanceof Uint8Array && reply.length === MEBI && reply[0] === at(largeValues(), n).charCodeAt(0),
    expected: (n) => value(Buffer.from(at(largeValues(), n))),
    written: nothing
  },
  {
    name: "large-array",
    title: "LRANGE of 10 000 elements, 4 callers",
    callers: 4,
    connections: 1,
    commandsPerCall: 1,
    unit: "calls/s",
    gated: true,
    distinct: 1,
    seed: () => [{ type: "list", key: listKey, values: listValues() }],
    call: (calls) => calls.list(listKey),
    accept: (reply) => Array.isArray(reply) && reply.length === 10_000 && reply[9999] === listValues()[9999],
    expected: () => value(listValues()),
    written: nothing
  },
  {
    name: "hash",
    title: "HGETALL of 100 fields, 16 callers",
    callers: 16,
    connections: 1,
    commandsPerCall: 1,
    unit: "calls/s",
    gated: true,
    distinct: 1,
    seed: () => [{ type: "hash", key: hashKey, entries: hashEntries() }],
    call: (calls) => calls.hash(hashKey),
    accept: (reply) => typeof reply === "object" && reply !== null,
    expected: () => ({ kind: "hash", entries: hashEntries() }),
    written: nothing
  },
  {
    name: "transaction-10",
    title: "MULTI, 5 SET, 5 GET, EXEC, 16 callers",
    callers: 16,
    connections: 1,
    commandsPerCall: 1,
    unit: "calls/s",
    gated: true,
    distinct: transactionKeys.length,
    seed: nothing,
    call: (calls, n) => calls.transaction(at(transactionKeys, n), at(smallValues, n % transactionKeys.length)),
    accept: (reply) => Array.isArray(reply) && reply.length === 10,
    expected: (n) => ({
      kind: "batch",
      values: range(10, (i) => (i < 5 ? "OK" : at(smallValues, n % transactionKeys.length)))
    }),
    written: () => transactionKeys.flatMap((keys, i) => keys.map((key) => [key, at(smallValues, i)] as const))
  },
  {
    name: "publish-500",
    title: "PUBLISH, 16 B, to nobody, 500 callers",
    callers: 500,
    connections: 1,
    commandsPerCall: 1,
    unit: "commands/s",
    gated: false,
    distinct: SMALL,
    seed: nothing,
    call: (calls, n) => calls.publish(at(setKeys, n), at(smallValues, n)),
    accept: (reply) => reply === 0,
    expected: () => value("0"),
    written: nothing
  },
  {
    name: "large-value-utf8",
    title: "GET, 1 MiB with 2 % multi-byte characters, 4 callers",
    callers: 4,
    connections: 1,
    commandsPerCall: 1,
    unit: "calls/s",
    gated: false,
    distinct: LARGE,
    seed: () => strings(utf8Keys, utf8Values()),
    call: (calls, n) => calls.get(at(utf8Keys, n)),
    accept: (reply, n) => sameEnds(reply, at(utf8Values(), n)),
    expected: (n) => value(at(utf8Values(), n)),
    written: nothing
  },
  {
    ...getSmall,
    name: "pool",
    title: "GET, 16 B, 500 callers, 10 connections",
    callers: 500,
    connections: 10,
    gated: false
  },
  {
    ...ofFamily,
    name: "effect-limiter",
    title: "Effect's RateLimiter.consume, 100 callers",
    callers: 100,
    distinct: 100,
    call: (calls, n) => familyOf(calls).limit(`limit:${n % 100}`),
    accept: (reply) => reply === "ok",
    expected: () => value("ok")
  },
  {
    ...ofFamily,
    name: "effect-queue",
    title: "Effect's PersistedQueue, one offered and one taken, 16 callers",
    callers: 16,
    distinct: 64,
    call: (calls, n) => familyOf(calls).queue(`element ${n}`),
    accept: (reply) => reply === "ok",
    expected: () => value("ok")
  },
  {
    ...ofFamily,
    name: "effect-cache",
    title: "Effect's Persistence, an entry read and decoded, 100 callers",
    callers: 100,
    distinct: 256,
    call: (calls, n) => familyOf(calls).cache(n % 256),
    accept: (reply, n) => reply === `user ${n % 256}`,
    expected: (n) => value(`user ${n % 256}`)
  }
]

/** The workload of that name. */
export const workloadNamed = (name: string): Workload => {
  const found = workloads.find((workload) => workload.name === name)
  if (found === undefined) throw new Error(`there is no workload ${name}`)
  return found
}

const canonical = (reply: unknown): unknown => {
  if (reply instanceof Uint8Array) return { bytes: createHash("sha256").update(reply).digest("hex") }
  if (Array.isArray(reply)) return reply.map(canonical)
  if (typeof reply === "number") return String(reply)
  return typeof reply === "string" || reply === null ? reply : { unexpected: typeof reply }
}
const byField = (a: readonly [unknown, unknown], b: readonly [unknown, unknown]) =>
  String(a[0]) < String(b[0]) ? -1 : 1
const serialised = (replies: ReadonlyArray<unknown>): string =>
  createHash("sha256").update(JSON.stringify(replies)).digest("hex")

/** Digest of what the calls 0 … distinct − 1 must return. */
export const expectedDigest = (workload: Workload): string =>
  serialised(
    range(workload.distinct, (n) => {
      const expected = workload.expected(n)
      if (expected.kind === "value") return canonical(expected.value)
      return expected.kind === "batch" ? expected.values : expected.entries.toSorted(byField)
    })
  )

/** Digest of what a client returned for them. */
export const repliesDigest = (workload: Workload, replies: ReadonlyArray<unknown>, shapes: Shapes): string =>
  serialised(
    replies.map((reply, n) => {
      const kind = workload.expected(n).kind
      if (kind === "value") return canonical(reply)
      if (kind === "batch") return shapes.batch(reply).map(canonical)
      return [...shapes.hash(reply)].map(([field, of]) => [canonical(field), canonical(of)] as const).toSorted(byField)
    })
  )

/**
 * Replies of core commands that have a form of their own.
 *
 * @internal
 */
import {
  double,
  either,
  integer,
  lazy,
  list,
  map,
  nullable,
  pair,
  pairs,
  type Reader,
  record,
  set,
  struct,
  text,
  triple,
  word
} from "@relive/core/Reader"
import * as Resp from "@relive/core/Resp"
import type {
  ClusterSlots,
  ClusterSlotsBytes,
  CommandDocs,
  CommandDocsBytes,
  CommandInfo,
  CommandInfoBytes,
  LcsMatch,
  MemoryStats,
  Role,
  RoleBytes,
  SlowlogEntry,
  SlowlogEntryBytes
} from "../Reply.ts"
import { located } from "./coreReads.ts"

const tooShort = (found: Resp.Reply, length: number): Resp.ReplyArray => {
  if (Array.isArray(found) && found.length >= length) return found
  throw new Resp.DecodeError("shape", `an array of at least ${length} was expected`)
}

// Places ----------------------------------------------------------------------

type At<M, T extends ReadonlyArray<unknown>> = readonly [member: M, ...T]
type Place<T extends ReadonlyArray<unknown>> = Reader<At<string, T>, At<Uint8Array, T>>
type Coordinates = readonly [longitude: number, latitude: number]

/** The types of `located`, which its arguments say. */
const place = <T extends ReadonlyArray<unknown>>(distance: boolean, hash: boolean, coordinates: boolean): Place<T> =>
  located(distance, hash, coordinates) as unknown as Place<T>

export const locatedDist = /* @__PURE__ */ place<[number]>(true, false, false)
export const locatedHash = /* @__PURE__ */ place<[number]>(false, true, false)
export const locatedCoord = /* @__PURE__ */ place<[Coordinates]>(false, false, true)
export const locatedDistHash = /* @__PURE__ */ place<[number, number]>(true, true, false)
export const locatedDistCoord = /* @__PURE__ */ place<[number, Coordinates]>(true, false, true)
export const locatedHashCoord = /* @__PURE__ */ place<[number, Coordinates]>(false, true, true)
export const locatedDistHashCoord = /* @__PURE__ */ place<[number, number, Coordinates]>(true, true, true)

// Strings ---------------------------------------------------------------------

const span = /* @__PURE__ */ pair(integer, integer)

const readMatch = (found: Resp.Reply): LcsMatch => {
  const [first, second, length] = tooShort(found, 2)
  const spans = [span.text(first), span.text(second)] as const
  return length === undefined ? spans : [...spans, integer.text(length)]
}

export const lcsMatch: Reader<LcsMatch> = { text: readMatch, bytes: readMatch }

// Streams ---------------------------------------------------------------------

const texts = /* @__PURE__ */ list(text)

/** A cursor, what was claimed, and the ids that are no more (since 7.0). */
const claiming = <A, B>(
  items: Reader<A, B>
): Reader<
  readonly [cursor: string, items: A, deleted: ReadonlyArray<string>],
  readonly [cursor: Uint8Array, items: B, deleted: ReadonlyArray<Uint8Array>]
> => ({
  text: (found) => {
    const [cursor, claimed, deleted = []] = tooShort(found, 2)
    return [text.text(cursor), items.text(claimed), texts.text(deleted)]
  },
  bytes: (found) => {
    const [cursor, claimed, deleted = []] = tooShort(found, 2)
    return [text.bytes(cursor), items.bytes(claimed), texts.bytes(deleted)]
  }
})

/** Entries of which some may be no more: `null` as a whole on older servers. */
export const existing = <A, B>(entry: Reader<A, B>): Reader<ReadonlyArray<A | null>, ReadonlyArray<B | null>> =>
  list(nullable(entry))

export const claimed = <A, B>(entry: Reader<A, B>) => claiming(list(entry))

export const claimedIds = /* @__PURE__ */ claiming(texts)

const consumers = /* @__PURE__ */ pairs(text, integer)

/** The number of pending entries, the first and the last of them, and the number for each consumer. */
export const pendingSummary: Reader<
  readonly [
    count: number,
    first: string | null,
    last: string | null,
    consumers: ReadonlyArray<readonly [name: string, count: number]>
  ],
  readonly [
    count: number,
    first: Uint8Array | null,
    last: Uint8Array | null,
    consumers: ReadonlyArray<readonly [name: Uint8Array, count: number]>
  ]
> = {
  text: (found) => {
    const [count, first, last, all] = tooShort(found, 4)
    return [integer.text(count), maybe.text(first), maybe.text(last), all === null ? [] : consumers.text(all)]
  },
  bytes: (found) => {
    const [count, first, last, all] = tooShort(found, 4)
    return [integer.bytes(count), maybe.bytes(first), maybe.bytes(last), all === null ? [] : consumers.bytes(all)]
  }
}

const maybe = /* @__PURE__ */ nullable(text)

// Servers ---------------------------------------------------------------------

const replicas = /* @__PURE__ */ list(/* @__PURE__ */ triple(text, text, text))

const unknownRole = (): never => {
  throw new Resp.DecodeError("shape", "the role is none that is known")
}

export const role: Reader<Role, RoleBytes> = {
  text: (found) => {
    const [name, second, third, fourth, fifth] = tooShort(found, 2)
    switch (word.text(name)) {
      case "master":
        return ["master", integer.text(second), replicas.text(third)]
      case "slave":
        return ["slave", text.text(second), integer.text(third), text.text(fourth), integer.text(fifth)]
      case "sentinel":
        return ["sentinel", texts.text(second)]
      default:
        return unknownRole()
    }
  },
  bytes: (found) => {
    const [name, second, third, fourth, fifth] = tooShort(found, 2)
    switch (word.bytes(name)) {
      case "master":
        return ["master", integer.bytes(second), replicas.bytes(third)]
      case "slave":
        return ["slave", text.bytes(second), integer.bytes(third), text.bytes(fourth), integer.bytes(fifth)]
      case "sentinel":
        return ["sentinel", texts.bytes(second)]
      default:
        return unknownRole()
    }
  }
}

export const slowlog: Reader<SlowlogEntry, SlowlogEntryBytes> = {
  text: (found) => {
    const [id, time, microseconds, words, address, name] = tooShort(found, 6)
    return [
      integer.text(id),
      integer.text(time),
      integer.text(microseconds),
      texts.text(words),
      text.text(address),
      text.text(name)
    ]
  },
  bytes: (found) => {
    const [id, time, microseconds, words, address, name] = tooShort(found, 6)
    return [
      integer.bytes(id),
      integer.bytes(time),
      integer.bytes(microseconds),
      texts.bytes(words),
      text.bytes(address),
      text.bytes(name)
    ]
  }
}

const numbers: Reader<number | Readonly<Record<string, number>>> = /* @__PURE__ */ either(
  double,
  /* @__PURE__ */ map(
    /* @__PURE__ */ record(double),
    (found) => found,
    (found) => byName(found)
  )
)

/** Names that the server fixes are text in both modes. */
const byName = <A>(found: ReadonlyArray<readonly [Uint8Array, A]>): Record<string, A> =>
  Object.fromEntries(found.map(([name, value]) => [word.bytes(name), value]))

export const memoryStats: Reader<MemoryStats> = /* @__PURE__ */ map(
  /* @__PURE__ */ record(numbers),
  (found) => found,
  (found) => byName(found)
)

// Clusters --------------------------------------------------------------------

const metadata = /* @__PURE__ */ record(text)

const readSlots = (found: Resp.Reply) => {
  const [start, end, ...nodes] = tooShort(found, 2)
  return { start: integer.text(start), end: integer.text(end), nodes: nodes.map((node) => tooShort(node, 3)) }
}

export const clusterSlots: Reader<ClusterSlots, ClusterSlotsBytes> = {
  text: (found) => {
    const { start, end, nodes } = readSlots(found)
    return [
      start,
      end,
      ...nodes.map(
        ([host, port, id, more = []]) =>
          [maybe.text(host), integer.text(port), text.text(id), metadata.text(more)] as const
      )
    ]
  },
  bytes: (found) => {
    const { start, end, nodes } = readSlots(found)
    return [
      start,
      end,
      ...nodes.map(
        ([host, port, id, more = []]) =>
          [maybe.bytes(host), integer.bytes(port), text.bytes(id), metadata.bytes(more)] as const
      )
    ]
  }
}

// Commands --------------------------------------------------------------------

const textSet = /* @__PURE__ */ set(text)

const searched = /* @__PURE__ */ struct({
  type: text,
  spec: /* @__PURE__ */ map(
    /* @__PURE__ */ record(/* @__PURE__ */ either(integer, text)),
    (found): Readonly<Record<string, unknown>> => found,
    (found): Readonly<Record<string, unknown>> => byName(found)
  )
})

const keySpecs = /* @__PURE__ */ set(
  /* @__PURE__ */ struct({ notes: text, flags: textSet, begin_search: searched, find_keys: searched })
)

const subcommands: Reader<ReadonlySet<CommandInfo>, ReadonlyArray<CommandInfoBytes>> = /* @__PURE__ */ set(
  /* @__PURE__ */ lazy(() => commandInfo)
)

export const commandInfo: Reader<CommandInfo, CommandInfoBytes> = {
  text: (found) => {
    const [name, arity, flags, first, last, step, categories = [], tips, specs, children] = tooShort(found, 6)
    const common = [
      text.text(name),
      integer.text(arity),
      textSet.text(flags),
      integer.text(first),
      integer.text(last),
      integer.text(step),
      textSet.text(categories)
    ] as const
    if (tips === undefined || specs === undefined || children === undefined) return common
    return [...common, textSet.text(tips), keySpecs.text(specs), subcommands.text(children)]
  },
  bytes: (found) => {
    const [name, arity, flags, first, last, step, categories = [], tips, specs, children] = tooShort(found, 6)
    const common = [
      text.bytes(name),
      integer.bytes(arity),
      textSet.bytes(flags),
      integer.bytes(first),
      integer.bytes(last),
      integer.bytes(step),
      textSet.bytes(categories)
    ] as const
    if (tips === undefined || specs === undefined || children === undefined) return common
    return [...common, textSet.bytes(tips), keySpecs.bytes(specs), subcommands.bytes(children)]
  }
}

const argumentDocs: Reader<Readonly<Record<string, unknown>>> = /* @__PURE__ */ struct({
  name: text,
  type: text,
  display_text: text,
  key_spec_index: integer,
  token: text,
  summary: text,
  since: text,
  deprecated_since: text,
  flags: textSet,
  arguments: /* @__PURE__ */ list(/* @__PURE__ */ lazy(() => argumentDocs))
})

const docs: Reader<CommandDocs, CommandDocsBytes> = /* @__PURE__ */ struct({
  summary: text,
  since: text,
  group: text,
  complexity: text,
  module: text,
  doc_flags: textSet,
  deprecated_since: text,
  replaced_by: text,
  history: /* @__PURE__ */ set(/* @__PURE__ */ pair(text, text)),
  arguments: /* @__PURE__ */ list(argumentDocs),
  subcommands: /* @__PURE__ */ record(/* @__PURE__ */ lazy(() => docs))
}) as unknown as Reader<CommandDocs, CommandDocsBytes>

export const commandDocs = /* @__PURE__ */ record(docs)

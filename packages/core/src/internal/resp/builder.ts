/**
 * Builders of values. The parser finds out *what* came; a builder says what that is as a value.
 *
 * There are two, `replyBuilder` and `frameBuilder`. A process normally uses one, so that the engine sees one set of
 * methods and inlines them: for replies most of these are the identity.
 *
 * @internal
 */
import { type Frame, type FrameBody, type Reply, ReplyError } from "./model.ts"

/** The containers that elements of an aggregate are put in while they come. */
export const ListContainer = 0
/** An array of pairs. */
export const PairsContainer = 1
/** A `Map`. */
export const MapContainer = 2
/** A `Set`. */
export const SetContainer = 3
/** Nothing is kept. */
export const NoContainer = 4

/** One of the containers. */
export type Container =
  | typeof ListContainer
  | typeof PairsContainer
  | typeof MapContainer
  | typeof SetContainer
  | typeof NoContainer

/** Attributes that wait for the value they describe. */
export type Attributes<V> = ReadonlyArray<readonly [key: V, value: V]>

/** Makes values of what was parsed. */
export interface Builder<V> {
  /** Stands for a value that nobody will see. */
  readonly absent: V
  /** Are attributes kept? If not, their content is skipped. */
  readonly keepsAttributes: boolean
  /** The container for maps and for sets. */
  readonly mapContainer: (bytes: boolean) => typeof PairsContainer | typeof MapContainer
  readonly setContainer: (bytes: boolean) => typeof ListContainer | typeof SetContainer

  readonly simple: (value: string) => V
  readonly bulk: (value: string | Uint8Array, streamed: boolean) => V
  readonly verbatim: (format: string, value: string | Uint8Array) => V
  readonly error: (text: string, blob: boolean) => V
  readonly integer: (value: number | bigint) => V
  readonly double: (value: number) => V
  readonly boolean: (value: boolean) => V
  readonly big: (value: bigint) => V
  readonly null: (form: "null" | "bulk" | "array") => V
  readonly array: (items: Array<V>, streamed: boolean) => V
  readonly setOfItems: (items: Array<V>, streamed: boolean) => V
  readonly mapOfPairs: (pairs: Array<[V, V]>, streamed: boolean) => V
  readonly set: (items: Set<V>, streamed: boolean) => V
  readonly map: (entries: Map<V, V>, streamed: boolean) => V
  readonly attach: (value: V, attributes: Attributes<V>) => V
}

/** Builds `Reply`. */
export const replyBuilder: Builder<Reply> = {
  absent: null,
  keepsAttributes: false,
  mapContainer: (bytes) => (bytes ? PairsContainer : MapContainer),
  setContainer: (bytes) => (bytes ? ListContainer : SetContainer),
  simple: (value) => value,
  bulk: (value) => value,
  verbatim: (_format, value) => value,
  error: (text) => ReplyError.fromText(text),
  integer: (value) => value,
  double: (value) => value,
  boolean: (value) => value,
  big: (value) => value,
  null: () => null,
  array: (items) => items,
  setOfItems: (items) => items,
  mapOfPairs: (pairs) => pairs,
  set: (items) => items,
  map: (entries) => entries,
  attach: (value) => value
}

const frame = (body: FrameBody): Frame => body

/** Builds `Frame`. */
export const frameBuilder: Builder<Frame> = {
  absent: { _tag: "Null", form: "null" },
  keepsAttributes: true,
  mapContainer: () => PairsContainer,
  setContainer: () => ListContainer,
  simple: (value) => frame({ _tag: "SimpleString", value }),
  bulk: (value, streamed) => frame({ _tag: "BulkString", value, streamed }),
  verbatim: (format, value) => frame({ _tag: "VerbatimString", format, value }),
  error: (value, blob) => frame(blob ? { _tag: "BlobError", value } : { _tag: "SimpleError", value }),
  integer: (value) => frame({ _tag: "Integer", value }),
  double: (value) => frame({ _tag: "Double", value }),
  boolean: (value) => frame({ _tag: "Boolean", value }),
  big: (value) => frame({ _tag: "BigNumber", value }),
  null: (form) => frame({ _tag: "Null", form }),
  array: (items, streamed) => frame({ _tag: "Array", items, streamed }),
  setOfItems: (items, streamed) => frame({ _tag: "Set", items, streamed }),
  mapOfPairs: (pairs, streamed) => frame({ _tag: "Map", pairs, streamed }),
  set: (items, streamed) => frame({ _tag: "Set", items: [...items], streamed }),
  map: (entries, streamed) => frame({ _tag: "Map", pairs: [...entries], streamed }),
  attach: (value, attributes) => ({ ...value, attributes })
}

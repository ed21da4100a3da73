/**
 * The building blocks of replies.
 *
 * @since 0.1.0
 */

import type { PairsBytes, Rec } from "@relive/core/Reader"

export type {
  /**
   * A relation as bytes.
   *
   * @category models
   * @since 0.1.0
   */
  PairsBytes,
  /**
   * Names that are data, and their values.
   *
   * @category models
   * @since 0.1.0
   */
  Rec
} from "@relive/core/Reader"

/**
 * A member of a sorted set with its score.
 *
 * @category models
 * @since 0.1.0
 */
export type Scored = readonly [member: string, score: number]

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type ScoredBytes = readonly [member: Uint8Array, score: number]

/**
 * An entry of a stream: its id, and its fields by name. The last of equal names wins; the option `pairs: true` gives all.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry = readonly [id: string, fields: Rec<string>]

/**
 * An entry of a stream with all its pairs, in the order in which they were added.
 *
 * @category models
 * @since 0.1.0
 */
export type PairsEntry = readonly [id: string, fields: ReadonlyArray<readonly [field: string, value: string]>]

/**
 * An entry of a stream as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type EntryBytes = readonly [
  id: Uint8Array,
  fields: ReadonlyArray<readonly [field: Uint8Array, value: Uint8Array]>
]

/**
 * Where something is.
 *
 * @category models
 * @since 0.1.0
 */
export type Position = readonly [longitude: number, latitude: number]

/**
 * One common part of `LCS … IDX`: where it is in the first and in the second key, and its length with `withMatchLen`.
 *
 * @category models
 * @since 0.1.0
 */
export type LcsMatch = readonly [
  first: readonly [start: number, end: number],
  second: readonly [start: number, end: number],
  length?: number
]

/**
 * The role of a server. A primary: its offset, and host, port and offset of each replica. A replica: host and port
 * of its primary, the state of the link, and its offset. A Sentinel: the names of the primaries that it watches.
 *
 * @category models
 * @since 0.1.0
 */
export type Role =
  | readonly [
      role: "master",
      offset: number,
      replicas: ReadonlyArray<readonly [host: string, port: string, offset: string]>
    ]
  | readonly [role: "slave", host: string, port: number, state: string, offset: number]
  | readonly [role: "sentinel", primaries: ReadonlyArray<string>]

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type RoleBytes =
  | readonly [
      role: "master",
      offset: number,
      replicas: ReadonlyArray<readonly [host: Uint8Array, port: Uint8Array, offset: Uint8Array]>
    ]
  | readonly [role: "slave", host: Uint8Array, port: number, state: Uint8Array, offset: number]
  | readonly [role: "sentinel", primaries: ReadonlyArray<Uint8Array>]

/**
 * A node of a cluster, as `CLUSTER SLOTS` describes it.
 *
 * @category models
 * @since 0.1.0
 */
export type ClusterSlotsNode = readonly [host: string | null, port: number, id: string, metadata: Rec<string>]

/**
 * A range of slots and its nodes, the primary first.
 *
 * @category models
 * @since 0.1.0
 */
export type ClusterSlots = readonly [start: number, end: number, ...nodes: ReadonlyArray<ClusterSlotsNode>]

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type ClusterSlotsBytes = readonly [
  start: number,
  end: number,
  ...nodes: ReadonlyArray<
    readonly [host: Uint8Array | null, port: number, id: Uint8Array, metadata: PairsBytes<Uint8Array>]
  >
]

/**
 * The places of a command's keys, as `COMMAND INFO` describes them.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandKeySpec {
  readonly notes?: string
  readonly flags: ReadonlySet<string> | ReadonlyArray<string>
  readonly begin_search: { readonly type: string; readonly spec: Rec<unknown> }
  readonly find_keys: { readonly type: string; readonly spec: Rec<unknown> }
  readonly [name: string]: unknown
}

/**
 * A command, as `COMMAND INFO` describes it. Servers before 7.0 have the first seven.
 *
 * @category models
 * @since 0.1.0
 */
export type CommandInfo = readonly [
  name: string,
  arity: number,
  flags: ReadonlySet<string>,
  firstKey: number,
  lastKey: number,
  step: number,
  categories: ReadonlySet<string>,
  tips?: ReadonlySet<string>,
  keySpecs?: ReadonlySet<CommandKeySpec>,
  subcommands?: ReadonlySet<CommandInfo>
]

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type CommandInfoBytes = readonly [
  name: Uint8Array,
  arity: number,
  flags: ReadonlyArray<Uint8Array>,
  firstKey: number,
  lastKey: number,
  step: number,
  categories: ReadonlyArray<Uint8Array>,
  tips?: ReadonlyArray<Uint8Array>,
  keySpecs?: ReadonlyArray<Readonly<Record<string, unknown>>>,
  subcommands?: ReadonlyArray<CommandInfoBytes>
]

/**
 * A command, as `COMMAND DOCS` describes it.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandDocs {
  readonly summary?: string
  readonly since?: string
  readonly group?: string
  readonly complexity?: string
  readonly history?: ReadonlySet<readonly [version: string, change: string]>
  readonly arguments?: ReadonlyArray<CommandArgumentDocs>
  readonly subcommands?: Rec<CommandDocs>
  readonly [name: string]: unknown
}

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandDocsBytes {
  readonly summary?: Uint8Array
  readonly since?: Uint8Array
  readonly group?: Uint8Array
  readonly complexity?: Uint8Array
  readonly history?: ReadonlyArray<readonly [version: Uint8Array, change: Uint8Array]>
  readonly arguments?: ReadonlyArray<Rec<unknown>>
  readonly subcommands?: PairsBytes<CommandDocsBytes>
  readonly [name: string]: unknown
}

/**
 * An argument of a command, as `COMMAND DOCS` describes it.
 *
 * @category models
 * @since 0.1.0
 */
export interface CommandArgumentDocs {
  readonly name: string
  readonly type: string
  readonly token?: string
  readonly flags?: ReadonlySet<string>
  readonly arguments?: ReadonlyArray<CommandArgumentDocs>
  readonly [name: string]: unknown
}

/**
 * The use of a server's memory, in bytes where nothing else is said: numbers by name, and for each database
 * (`db.0`) numbers by name again.
 *
 * @category models
 * @since 0.1.0
 */
export type MemoryStats = Rec<number | Rec<number>>

/**
 * A slow command: its number, when it ran (seconds since 1970), how long it took (microseconds), its words (long ones cut), and
 * the client's address and name.
 *
 * @category models
 * @since 0.1.0
 */
export type SlowlogEntry = readonly [
  id: number,
  time: number,
  microseconds: number,
  words: ReadonlyArray<string>,
  address: string,
  name: string
]

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export type SlowlogEntryBytes = readonly [
  id: number,
  time: number,
  microseconds: number,
  words: ReadonlyArray<Uint8Array>,
  address: Uint8Array,
  name: Uint8Array
]

/**
 * A sample of a time series: its time in milliseconds and its value, or one value for each aggregation that was asked for.
 *
 * @category models
 * @since 0.1.0
 */
export type TimeSeriesSample = readonly [timestamp: number, value: number, ...more: ReadonlyArray<number>]

/**
 * A series among several: its labels where they were asked for, its samples, and, where series were grouped, the keys that
 * went into it.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeSeries {
  readonly labels: Rec<string | null>
  readonly samples: ReadonlyArray<TimeSeriesSample>
  readonly sources?: ReadonlyArray<string>
}

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeSeriesBytes {
  readonly labels: PairsBytes<Uint8Array | null>
  readonly samples: ReadonlyArray<TimeSeriesSample>
  readonly sources?: ReadonlyArray<Uint8Array>
}

/**
 * The last sample of a series among several.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeSeriesLatest {
  readonly labels: Rec<string | null>
  readonly sample: TimeSeriesSample | null
}

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeSeriesLatestBytes {
  readonly labels: PairsBytes<Uint8Array | null>
  readonly sample: TimeSeriesSample | null
}

/**
 * The description of a series, by the server's names. `rules` and `Chunks` are as they came.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeSeriesInfo {
  readonly totalSamples: number
  readonly memoryUsage: number
  readonly firstTimestamp: number
  readonly lastTimestamp: number
  readonly retentionTime: number
  readonly chunkCount: number
  readonly chunkSize: number
  readonly chunkType: string
  readonly duplicatePolicy: string | null
  readonly labels: Rec<string | null>
  readonly sourceKey: string | null
  readonly rules: unknown
  readonly [name: string]: unknown
}

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeSeriesInfoBytes {
  readonly totalSamples: number
  readonly memoryUsage: number
  readonly firstTimestamp: number
  readonly lastTimestamp: number
  readonly retentionTime: number
  readonly chunkCount: number
  readonly chunkSize: number
  readonly chunkType: string
  readonly duplicatePolicy: string | null
  readonly labels: PairsBytes<Uint8Array | null>
  readonly sourceKey: Uint8Array | null
  readonly rules: unknown
  readonly [name: string]: unknown
}

/**
 * A document that was found, or a row of an aggregation (which has no `id`): its fields are `extra_attributes`. Score, payload
 * and sort key are there where they were asked for.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchHit {
  readonly id?: string
  readonly score?: unknown
  readonly payload?: string | null
  readonly sortkey?: string | null
  readonly extra_attributes?: Rec<unknown>
  readonly [name: string]: unknown
}

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchHitBytes {
  readonly id?: Uint8Array
  readonly score?: unknown
  readonly payload?: Uint8Array | null
  readonly sortkey?: Uint8Array | null
  readonly extra_attributes?: PairsBytes<unknown>
  readonly [name: string]: unknown
}

/**
 * The result of a search. It has the shape of the RESP3 reply whatever the protocol: where a RESP2 server does not say something,
 * it is empty.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchReply {
  readonly total_results: number
  readonly results: ReadonlyArray<SearchHit>
  readonly warning: ReadonlyArray<unknown>
  readonly [name: string]: unknown
}

/**
 * The same as bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface SearchReplyBytes {
  readonly total_results: number
  readonly results: ReadonlyArray<SearchHitBytes>
  readonly warning: ReadonlyArray<unknown>
  readonly [name: string]: unknown
}

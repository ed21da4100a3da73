/**
 * The building blocks of arguments.
 *
 * @since 0.1.0
 */
import type * as Resp from "@relive/core/Resp"

/**
 * The name of a key, or a pattern of names.
 *
 * @category models
 * @since 0.1.0
 */
export type RedisKey = string | Uint8Array

/**
 * A value: a number goes as its decimal text.
 *
 * @category models
 * @since 0.1.0
 */
export type RedisValue = Resp.Argument

/**
 * An integer. A number must be a safe one.
 *
 * @category models
 * @since 0.1.0
 */
export type Int = number | bigint

/**
 * One, or several in an array that is not empty.
 *
 * @category models
 * @since 0.1.0
 */
export type OneOrMany<A> = A | ReadonlyArray<A>

/**
 * Names and values: a record, pairs, or a map. Pairs and maps take names that are bytes, and keep their order.
 *
 * @category models
 * @since 0.1.0
 */
export type Relation<K, V> = Readonly<Record<string, V>> | ReadonlyArray<readonly [K, V]> | ReadonlyMap<K, V>

/**
 * Fields and their values.
 *
 * @category models
 * @since 0.1.0
 */
export type Fields = Relation<RedisValue, RedisValue>

/**
 * At most one of the members of `T`.
 *
 * @category models
 * @since 0.1.0
 */
export type OneOf<T> = ExactlyOne<T> | { readonly [P in keyof T]?: undefined }

/**
 * Exactly one of the members of `T`.
 *
 * @category models
 * @since 0.1.0
 */
export type ExactlyOne<T> = {
  [K in keyof T]: { readonly [P in K]: T[P] } & { readonly [P in Exclude<keyof T, K>]?: undefined }
}[keyof T]

/**
 * A bound of scores: `"(1.5"` leaves 1.5 itself out.
 *
 * @category models
 * @since 0.1.0
 */
export type Score = number | "-inf" | "+inf" | `(${string}`

/**
 * A bound of members in lexical order: `"[a"` with `a`, `"(a"` without it, `"-"` and `"+"` for the ends. As bytes it begins
 * with the same character.
 *
 * @category models
 * @since 0.1.0
 */
export type Lex = "-" | "+" | `[${string}` | `(${string}` | Uint8Array

/**
 * A unit of length.
 *
 * @category models
 * @since 0.1.0
 */
export type Unit = "m" | "km" | "ft" | "mi"

/**
 * The value of a sample of a time series.
 *
 * @category models
 * @since 0.1.0
 */
export type Sample = number | "NaN"

/**
 * The aggregation of a time series' samples.
 *
 * @category models
 * @since 0.1.0
 */
export type Aggregator =
  | "avg"
  | "sum"
  | "min"
  | "max"
  | "range"
  | "count"
  | "first"
  | "last"
  | "std.p"
  | "std.s"
  | "var.p"
  | "var.s"
  | "twa"
  | "countNaN"
  | "countAll"

/**
 * A vector: numbers, or `Float32Array` and bytes, which are sent as they are in memory (32-bit floats, little-endian).
 *
 * @category models
 * @since 0.1.0
 */
export type Vector = ReadonlyArray<number> | Float32Array | Uint8Array

/**
 * Streams and the ids to read from, one for each.
 *
 * @category models
 * @since 0.1.0
 */
export type Streams = Readonly<Record<string, RedisValue>> | ReadonlyArray<readonly [key: RedisKey, id: RedisValue]>

/**
 * Typed Redis commands for Effect.
 *
 * @since 0.1.0
 */
export * as Argument from "./Argument.ts"
export * as Bloom from "./Bloom.ts"
export * as Commands from "./Commands.ts"
export * as Json from "./Json.ts"
export * as Reply from "./Reply.ts"
export * as Search from "./Search.ts"
export * as TimeSeries from "./TimeSeries.ts"
export * as VectorSet from "./VectorSet.ts"

/**
 * A pool of supervised Redis connections for Effect.
 *
 * @since 0.1.0
 */
export * as RedisPool from "./RedisPool.ts"

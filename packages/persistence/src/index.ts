/**
 * Effect's persistence family on Relive.
 *
 * @since 0.1.0
 */
export * as HttpRateLimit from "./HttpRateLimit.ts"
export * as RedisKeyValueStore from "./RedisKeyValueStore.ts"
export * as RedisPersistedQueue from "./RedisPersistedQueue.ts"
export * as RedisPersistence from "./RedisPersistence.ts"
export * as RedisRunnerStorage from "./RedisRunnerStorage.ts"

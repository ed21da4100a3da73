/**
 * Redis for Effect, supervised like OTP.
 *
 * @since 0.1.0
 */
export * as Command from "./Command.ts"
export * as CommandTable from "./CommandTable.ts"
export * as PlainReply from "./PlainReply.ts"
export * as Promises from "./Promises.ts"
export * as Reader from "./Reader.ts"
export * as Redis from "./Redis.ts"
export { RedisLive } from "./Redis.ts"
export * as RedisConnection from "./RedisConnection.ts"
export { RedisError } from "./RedisError.ts"
export * as RedisOptions from "./RedisOptions.ts"
export * as RedisPubSub from "./RedisPubSub.ts"
export { RedisService } from "./RedisService.ts"
export * as Resp from "./Resp.ts"
export * as Telemetry from "./Telemetry.ts"

/**
 * Real Redis servers, a scripted one, a fault proxy and a ledger, for tests with Effect.
 *
 * @since 0.1.0
 */
export * as Certificates from "./Certificates.ts"
export * as FakeServer from "./FakeServer.ts"
export * as Fault from "./Fault.ts"
export * as FaultProxy from "./FaultProxy.ts"
export * as FaultSchedule from "./FaultSchedule.ts"
export * as Ledger from "./Ledger.ts"
export * as RedisCluster from "./RedisCluster.ts"
export * as RedisReplication from "./RedisReplication.ts"
export * as RedisSentinel from "./RedisSentinel.ts"
export * as RedisServer from "./RedisServer.ts"

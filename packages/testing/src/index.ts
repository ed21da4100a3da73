export * as FakeServer from "./FakeServer.ts"
export * as RedisServer from "./RedisServer.ts"

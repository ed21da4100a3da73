/** ioredis with its documented defaults, and a `pipeline()` or `multi()` where the workload is one. */
import { Redis } from "ioredis"
import { entriesOf, plainBatch, type Calls } from "../calls.ts"
import { promiseDriver } from "../loops.ts"
import type { Client, Connection, Target } from "./client.ts"
import { roundRobin } from "./roundRobin.ts"

/** What differs between the two ways in which ioredis takes part. */
export interface Settings {
  readonly enableAutoPipelining: boolean
}

const connect = async (target: Target, settings: Settings) => {
  const client = new Redis({ host: target.host, port: target.port, lazyConnect: true, ...settings })
  client.on("error", () => {})
  await client.connect()
  const calls: Calls<Promise<unknown>> = {
    get: (key) => client.get(key),
    getBytes: (key) => client.getBuffer(key),
    set: (key, value) => client.set(key, value),
    list: (key) => client.lrange(key, 0, -1),
    hash: (key) => client.hgetall(key),
    pipeline: (keys) => {
      const batch = client.pipeline()
      for (const key of keys) batch.get(key)
      return batch.exec()
    },
    transaction: (keys, value) => {
      const batch = client.multi()
      for (const key of keys) batch.set(key, value)
      for (const key of keys) batch.get(key)
      return batch.exec()
    }
  }
  return { calls, close: () => client.disconnect() }
}

/** It answers a batch with pairs of error and value. */
const valuesOf = (reply: unknown): ReadonlyArray<unknown> =>
  plainBatch(reply).map((pair) => {
    const [error, value] = plainBatch(pair)
    if (error !== null) throw error
    return value
  })

const connection = (calls: Calls<Promise<unknown>>, close: () => void): Connection => ({
  driver: promiseDriver(calls),
  shapes: { batch: valuesOf, hash: entriesOf },
  close: async () => close()
})

/** ioredis with the given settings; it has no pool, so ten of it take turns. */
export const ioredis = (settings: Settings): Client => ({
  open: async (target) => {
    const { calls, close } = await connect(target, settings)
    return connection(calls, close)
  },
  openPool: async (target, size) => {
    const all = await Promise.all(Array.from({ length: size }, () => connect(target, settings)))
    return connection(roundRobin(all.map(({ calls }) => calls)), () => all.forEach(({ close }) => close()))
  }
})

export const client: Client = ioredis({ enableAutoPipelining: false })

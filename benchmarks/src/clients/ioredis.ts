/** ioredis with its documented defaults, and a `pipeline()` or `multi()` where the workload is one. */
import { Redis } from "ioredis"
import { entriesOf, plainBatch, type Calls } from "../calls.ts"
import { promiseDriver } from "../loops.ts"
import type { Client, Connection, Subscribe, Target } from "./client.ts"
import { roundRobin } from "./roundRobin.ts"

/** The difference between the two ways in which ioredis takes part. */
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
    publish: (channel, message) => client.publish(channel, message),
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
  // A connection that has subscribed does nothing else here; each subscriber is a listener that looks at the channel.
  const subscriber = client.duplicate()
  subscriber.on("error", () => {})
  const subscribe: Subscribe = async (channel, count, onMessage) => {
    subscriber.setMaxListeners(count + 10)
    for (let i = 0; i < count; i++) {
      subscriber.on("message", (name, payload) => {
        if (name === channel) onMessage(i, payload)
      })
    }
    await subscriber.subscribe(channel)
  }
  const close = () => {
    subscriber.disconnect()
    client.disconnect()
  }
  return { calls, close, subscribe }
}

/** It returns a batch as pairs of error and value. */
const valuesOf = (reply: unknown): ReadonlyArray<unknown> =>
  plainBatch(reply).map((pair) => {
    const [error, value] = plainBatch(pair)
    if (error !== null) throw error
    return value
  })

const connection = (calls: Calls<Promise<unknown>>, close: () => void, subscribe?: Subscribe): Connection => ({
  driver: promiseDriver(calls),
  subscribe,
  shapes: { batch: valuesOf, hash: entriesOf },
  close: async () => close()
})

/** ioredis with the given settings; it has no pool, so ten of it take turns. */
export const ioredis = (settings: Settings): Client => ({
  open: async (target) => {
    const { calls, close, subscribe } = await connect(target, settings)
    return connection(calls, close, subscribe)
  },
  openPool: async (target, size) => {
    const all = await Promise.all(Array.from({ length: size }, () => connect(target, settings)))
    return connection(roundRobin(all.map(({ calls }) => calls)), () => all.forEach(({ close }) => close()))
  }
})

export const client: Client = ioredis({ enableAutoPipelining: false })

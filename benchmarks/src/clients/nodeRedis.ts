/**
 * node-redis with its documented defaults: RESP3, and a timeout of 5 s per command, as ours has one (its own covers
 * only the time before the command is written). It joins the commands of one tick into one write by itself. `HGETALL`
 * is mapped to a `Map`, which is faster than its default; `multi().execAsPipeline()` is its explicit pipeline.
 */
import { createClient, RESP_TYPES } from "redis"
import { entriesOf, plainBatch, type Calls } from "../calls.ts"
import { promiseDriver } from "../loops.ts"
import type { Client, Connection, Subscribe, Target } from "./client.ts"
import { roundRobin } from "./roundRobin.ts"

/** `timeout` 0 turns the default timeout of 5 s off. */
export interface Settings {
  readonly timeout?: 0 | undefined
}

const connect = async (target: Target, settings: Settings) => {
  const client = createClient({
    socket: { host: target.host, port: target.port },
    ...(settings.timeout === undefined ? {} : { commandOptions: { timeout: settings.timeout } })
  })
  client.on("error", () => {})
  await client.connect()
  const mapped = client.withTypeMapping({ [RESP_TYPES.MAP]: Map })
  const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  const calls: Calls<Promise<unknown>> = {
    get: (key) => client.get(key),
    getBytes: (key) => bytes.get(key),
    set: (key, value) => client.set(key, value),
    publish: (channel, message) => client.publish(channel, message),
    list: (key) => client.lRange(key, 0, -1),
    hash: (key) => mapped.hGetAll(key),
    pipeline: (keys) => {
      const batch = client.multi()
      for (const key of keys) batch.get(key)
      return batch.execAsPipeline()
    },
    transaction: (keys, value) => {
      const batch = client.multi()
      for (const key of keys) batch.set(key, value)
      for (const key of keys) batch.get(key)
      return batch.exec()
    }
  }
  const subscriber = client.duplicate()
  subscriber.on("error", () => {})
  const subscribe: Subscribe = async (channel, count, onMessage) => {
    if (!subscriber.isOpen) await subscriber.connect()
    for (let i = 0; i < count; i++) await subscriber.subscribe(channel, (payload) => onMessage(i, payload))
  }
  const close = () => {
    if (subscriber.isOpen) subscriber.destroy()
    client.destroy()
  }
  return { calls, close, subscribe }
}

const connection = (calls: Calls<Promise<unknown>>, close: () => void, subscribe?: Subscribe): Connection => ({
  driver: promiseDriver(calls),
  subscribe,
  shapes: { batch: plainBatch, hash: entriesOf },
  close: async () => close()
})

/** node-redis with the given settings. */
export const nodeRedis = (settings: Settings): Client => ({
  open: async (target) => {
    const { calls, close, subscribe } = await connect(target, settings)
    return connection(calls, close, subscribe)
  },
  // Its own pool lends a connection to one command at a time; round robin over plain clients is faster.
  openPool: async (target, size) => {
    const all = await Promise.all(Array.from({ length: size }, () => connect(target, settings)))
    return connection(roundRobin(all.map(({ calls }) => calls)), () => all.forEach(({ close }) => close()))
  }
})

/** Effect's persistence modules on it, by Effect's own NodeRedis. Loaded when they are measured. */
const openFamily = async ({ host, port }: Target): Promise<Connection> => {
  const NodeRedis = await import("@effect/platform-node/NodeRedis")
  const Layer = await import("effect/Layer")
  const family = await import("./family.ts")
  return family.openFamily(Layer.provide(family.overRedis, NodeRedis.layer({ socket: { host, port } })))
}

export const client: Client = { ...nodeRedis({}), openFamily }

/**
 * Valkey GLIDE: one multiplexed connection as its documentation recommends, batches for pipelines and transactions. Its
 * request timeout is raised from 250 ms to our 5 s, so that large values on a busy machine do not fail, and its limit of 1 000
 * requests to ours: it refuses what is over it at once, where the others wait.
 */
import { Batch, Decoder, GlideClient } from "@valkey/valkey-glide"
import { plainBatch, type Calls } from "../calls.ts"
import { promiseDriver } from "../loops.ts"
import type { Client, Connection, Target } from "./client.ts"
import { roundRobin } from "./roundRobin.ts"

const connect = async (target: Target) => {
  const client = await GlideClient.createClient({
    addresses: [target],
    requestTimeout: 5000,
    inflightRequestsLimit: 16_384
  })
  const calls: Calls<Promise<unknown>> = {
    get: (key) => client.get(key),
    getBytes: (key) => client.get(key, { decoder: Decoder.Bytes }),
    set: (key, value) => client.set(key, value),
    publish: (channel, message) => client.publish(message, channel),
    list: (key) => client.lrange(key, 0, -1),
    hash: (key) => client.hgetall(key),
    pipeline: (keys) => {
      const batch = new Batch(false)
      for (const key of keys) batch.get(key)
      return client.exec(batch, true)
    },
    transaction: (keys, value) => {
      const batch = new Batch(true)
      for (const key of keys) batch.set(key, value)
      for (const key of keys) batch.get(key)
      return client.exec(batch, true)
    }
  }
  return { calls, close: () => client.close() }
}

/** It returns a hash as rows of field and value. */
const rowsOf = (reply: unknown): Iterable<readonly [unknown, unknown]> =>
  plainBatch(reply).map((row) => {
    if (typeof row !== "object" || row === null || !("field" in row) || !("value" in row)) {
      throw new TypeError("expected rows of field and value")
    }
    return [row.field, row.value] as const
  })

const connection = (calls: Calls<Promise<unknown>>, close: () => void): Connection => ({
  driver: promiseDriver(calls),
  shapes: { batch: plainBatch, hash: rowsOf },
  close: async () => close()
})

export const client: Client = {
  open: async (target) => {
    const { calls, close } = await connect(target)
    return connection(calls, close)
  },
  openPool: async (target, size) => {
    const all = await Promise.all(Array.from({ length: size }, () => connect(target)))
    return connection(roundRobin(all.map(({ calls }) => calls)), () => all.forEach(({ close }) => close()))
  }
}

/** Clients that subscribe, behind one small face, each as its documentation says, and with what it has for liveness. */
import { Redis } from "@relive/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Redis as IORedis } from "ioredis"
import { createClient } from "redis"
import type { Target } from "../clients/client.ts"

/** How one subscriber hears. What it returns is waited for before the next message is given to it, where the client can wait. */
export interface Listener {
  readonly message: (payload: string) => void | Promise<void>
  /** Some messages may be missing from here on: a `Gap`, or whatever event of the connection a client has. */
  readonly gap: () => void
}

export interface Subject {
  /** Resolves when it is subscribed. */
  readonly subscribe: (channel: string, listener: Listener) => Promise<void>
  readonly close: () => Promise<unknown>
}

export type Open = (target: Target) => Promise<Subject>

const relive: Open = async (target) => {
  const scope = Scope.makeUnsafe()
  const layer = Layer.provideMerge(
    Redis.layer({ ...target, healthCheckInterval: "1 second", connectTimeout: "1 second" }),
    Logger.layer([])
  )
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  return {
    subscribe: (channel, listener) =>
      new Promise((resolve) => {
        const told = Stream.runForEach(Redis.subscribe(channel), (event) => {
          if (event._tag === "Subscribed") return Effect.sync(resolve)
          if (event._tag === "Gap") return Effect.sync(listener.gap)
          if (event._tag === "Resubscribed") return Effect.void
          const done = listener.message(event.payload)
          return done === undefined ? Effect.void : Effect.promise(() => done)
        })
        Effect.runFork(Effect.provideContext(Effect.forkIn(told, scope), context))
      }),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Listeners of callbacks: what one cannot take yet waits in a queue of its own, as a program has to do it by hand. */
const queued = ({ message }: Listener): ((payload: string) => void) => {
  const queue: Array<string> = []
  let busy = false
  const drain = async (): Promise<void> => {
    busy = true
    for (let payload = queue.shift(); payload !== undefined; payload = queue.shift()) await message(payload)
    busy = false
  }
  return (payload) => {
    queue.push(payload)
    if (!busy) void drain()
  }
}

const ioredis: Open = async (target) => {
  const client = new IORedis({ ...target, socketTimeout: 2000 })
  const listeners: Array<Listener> = []
  client.on("error", () => {})
  client.on("close", () => listeners.forEach(({ gap }) => gap()))
  return {
    subscribe: async (channel, listener) => {
      const take = queued(listener)
      listeners.push(listener)
      client.on("message", (name, payload) => {
        if (name === channel) take(payload)
      })
      await client.subscribe(channel)
    },
    close: async () => client.disconnect()
  }
}

const nodeRedis: Open = async (target) => {
  const client = createClient({ socket: { ...target, socketTimeout: 2000 }, pingInterval: 1000 })
  const listeners: Array<Listener> = []
  client.on("error", () => listeners.forEach(({ gap }) => gap()))
  await client.connect()
  return {
    subscribe: async (channel, listener) => {
      const take = queued(listener)
      listeners.push(listener)
      await client.subscribe(channel, take)
    },
    close: async () => client.destroy()
  }
}

/** By the names that `--clients` takes. */
export const subjects: Readonly<Record<string, Open>> = { relive, ioredis, "node-redis": nodeRedis }

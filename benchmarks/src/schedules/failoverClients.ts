/** Clients under Sentinels, behind one small face. */
import { Redis, RedisError, type RedisService } from "@relive/core"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { Redis as IORedis } from "ioredis"
import { createSentinel } from "redis"

/** Where a Sentinel listens. */
export interface Place {
  readonly host: string
  readonly port: number
}

export interface Subject {
  readonly send: (args: ReadonlyArray<string>) => Promise<unknown>
  /** A blocking pop of at most a second, on a connection of its own. */
  readonly pop: (key: string) => Promise<unknown>
  /** The same, into another list. */
  readonly move: (from: string, to: string) => Promise<unknown>
  /** Names an error in a word or two. */
  readonly kindOf: (error: unknown) => string
  readonly close: () => Promise<unknown>
}

export type Open = (sentinels: ReadonlyArray<Place>, group: string) => Promise<Subject>

const relive: Open = async (sentinels, group) => {
  const scope = Scope.makeUnsafe()
  const options = { sentinels: sentinels.map(({ host, port }) => ({ host, port })), group }
  const layer = Layer.provideMerge(Redis.layer({ sentinel: options, start: "await" }), Logger.layer([]))
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  const send = <A>(effect: Effect.Effect<A, RedisError.RedisError, RedisService>) =>
    Effect.runPromiseExit(Effect.provideContext(effect, context)).then((exit) => {
      if (Exit.isSuccess(exit)) return exit.value
      throw Cause.squash(exit.cause)
    })
  return {
    send: (args) => send(Redis.command(args)),
    pop: (key) => send(Redis.command(["BLPOP", key, "1"])),
    move: (from, to) => send(Redis.command(["BLMOVE", from, to, "RIGHT", "LEFT", "1"])),
    kindOf: (error) => {
      if (!(error instanceof RedisError.RedisError)) return "other"
      const { reason } = error
      return "delivery" in reason ? `${reason._tag} ${reason.delivery}` : reason._tag
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const firstWords = (error: unknown): string =>
  error instanceof Error ? error.message.split(" ").slice(0, 3).join(" ") : String(error)

const ioredis: Open = async (sentinels, name) => {
  const options = {
    sentinels: sentinels.map(({ host, port }) => ({ host, port })),
    name,
    failoverDetector: true,
    maxRetriesPerRequest: null
  }
  const redis = new IORedis(options)
  const blocking = new IORedis(options)
  for (const each of [redis, blocking]) each.on("error", () => {})
  await redis.ping()
  return {
    send: ([command = "", ...args]) => redis.call(command, ...args),
    pop: (key) => blocking.blpop(key, 1),
    move: (from, to) => blocking.blmove(from, to, "RIGHT", "LEFT", 1),
    kindOf: firstWords,
    close: async () => {
      redis.disconnect()
      blocking.disconnect()
    }
  }
}

const nodeRedis: Open = async (sentinels, name) => {
  const sentinel = createSentinel({
    name,
    sentinelRootNodes: sentinels.map(({ host, port }) => ({ host, port })),
    masterPoolSize: 2
  })
  sentinel.on("error", () => {})
  await sentinel.connect()
  return {
    send: ([command = "", ...args]) =>
      command === "RPUSH" ? sentinel.rPush(args[0] ?? "", args.slice(1)) : sentinel.lPush(args[0] ?? "", args.slice(1)),
    pop: (key) => sentinel.use((client) => client.blPop(key, 1)),
    move: (from, to) => sentinel.use((client) => client.blMove(from, to, "RIGHT", "LEFT", 1)),
    kindOf: firstWords,
    close: async () => sentinel.destroy()
  }
}

export const subjects: Readonly<Record<string, Open>> = { relive, ioredis, "node-redis": nodeRedis }

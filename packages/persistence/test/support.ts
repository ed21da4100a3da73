/** What the tests share: a server with a connection on it, and how to wait for what a server does. */
import { Redis } from "@relive/core"
import type { RedisOptions } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A connection to a server of its own, and the server. */
export const withServer = (options: RedisOptions.Options = {}, server: RedisServer.Options = {}) =>
  Layer.provideMerge(connected(options), RedisServer.layer(server))

/** A connection to the server that is there. */
export const connected = (options: RedisOptions.Options = {}) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, ...options })))

export const server = RedisServer.RedisServer

/** A command of the test itself, past what it tests. */
export const ask = (...command: ReadonlyArray<string>) => Effect.flatMap(server, (server) => server.command(command))

/** Waits until as many clients of the server are blocked. */
export const awaitBlocked = (count: number) =>
  Effect.repeat(ask("INFO", "clients"), {
    until: (info) => new RegExp(`blocked_clients:${count}\\b`).test(String(info))
  })

/** The clients of the server, without the one that asks. */
export const clients = Effect.map(ask("CLIENT", "LIST"), (list) => String(list).trim().split("\n").slice(0, -1))

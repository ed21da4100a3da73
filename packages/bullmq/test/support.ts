/** The parts that the tests share: a server, and clients of BullMQ that end with the test. */
import { BullMQConnection } from "@relive/bullmq"
import { Redis } from "@relive/core"
import type { RedisOptions } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** A client on the server of the test. */
export const connect = (
  options: RedisOptions.Options = {}
): Effect.Effect<BullMQConnection.Client, never, RedisServer.RedisServer | Scope.Scope> =>
  Effect.flatMap(RedisServer.RedisServer, ({ url }) =>
    Effect.acquireRelease(
      Effect.sync(() => BullMQConnection.fromLayer(Redis.layer({ url, ...options }))),
      (client) => Effect.promise(() => client.close())
    )
  )

/** A part of BullMQ, closed at the end, before the client it was made with. */
export const scoped = <A extends { close(): Promise<unknown> }>(make: () => A): Effect.Effect<A, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(make), (part) => Effect.promise(() => part.close()))

export const ask = (...command: ReadonlyArray<string>) =>
  Effect.flatMap(RedisServer.RedisServer, (server) => server.command(command))

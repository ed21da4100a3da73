/**
 * The bare client with each call as an `Effect.callback`: what a client could reach whose callers are fibers, if it did nothing
 * else. No client either, see `bare.ts`.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { entriesOf, plainBatch } from "../calls.ts"
import { effectDriver } from "../loops.ts"
import { bareCalls, openBare } from "./bare.ts"
import type { Client } from "./client.ts"

export const client: Client = {
  open: async (target) => {
    const bare = await openBare(target)
    const calls = bareCalls((text, count, bytes, finish) =>
      Effect.callback<unknown>((resume) =>
        bare.send(text, count, bytes, finish, (value) => resume(Exit.succeed(value)))
      )
    )
    return {
      driver: effectDriver(calls, Effect.runPromise),
      shapes: { batch: plainBatch, hash: entriesOf },
      close: async () => bare.close()
    }
  }
}

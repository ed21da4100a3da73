/**
 * A client that a test freezes: it says on stdout when it is at the point, and how its call ended. Started by `stalls.test.ts`
 * with the port and the name of what it does.
 */
import { Redis, type RedisError, type RedisService } from "@relive/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"

const [port = "", what = ""] = process.argv.slice(2)

const say = (line: string): Effect.Effect<void> => Effect.sync(() => process.stdout.write(`${line}\n`))

const outcome = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.exit(call), (exit) =>
    say(Exit.isSuccess(exit) ? `done ${JSON.stringify(exit.value)}` : `failed ${String(exit.cause)}`)
  )

/** As early as can be: in the turn that reads from stdin. */
const told = Effect.callback<void>((resume) => {
  process.stdin.once("data", () => resume(Effect.void))
})

const deadline = { timeout: 700 }

const calls: Record<string, (lease: Redis.Service) => Effect.Effect<unknown, RedisError.RedisError, RedisService>> = {
  call: () => Redis.command(["INCR", "n"], deadline),
  transaction: (lease) => lease.transaction([["INCR", "n"]], deadline),
  blocked: () => Redis.command(["BLPOP", "jobs", 5], deadline),
  write: () => Redis.command(["INCR", "n"])
}

const callsWhenTold = Effect.gen(function* () {
  const lease = yield* Redis.lease
  yield* lease.command(["PING"])
  yield* Redis.command(["PING"])
  const call = yield* Effect.forkChild(Effect.andThen(told, outcome(calls[what]?.(lease) ?? Effect.die(what))), {
    startImmediately: true
  })
  yield* say("ready")
  yield* Fiber.join(call)
}).pipe(Effect.scoped)

/** A dial: its connection is accepted by the kernel, and answered by the server, while this program is frozen. */
const dials = Effect.gen(function* () {
  const call = yield* Effect.forkChild(
    outcome(Effect.andThen(Redis.command(["PING"], { timeout: "10 seconds" }), Redis.status)),
    { startImmediately: true }
  )
  yield* say("ready")
  yield* Fiber.join(call)
})

const run = what === "dial" ? dials : callsWhenTold
await Effect.runPromise(
  run.pipe(
    Effect.provide(Redis.layer({ port: Number(port), connectTimeout: what === "dial" ? 700 : 5000 })),
    Effect.provide(Logger.layer([]))
  )
)
process.stdin.destroy()

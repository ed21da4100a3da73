/**
 * Nothing of its own is made for a command (law 9): no fiber, no timer, no promise. What a thousand commands make more than a
 * hundred do is counted by the engine and by Effect's numbering of fibers.
 */
import { assert, describe, it } from "@effect/vitest"
import { Command, Reader, Redis, type RedisService } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { createHook } from "node:async_hooks"

const callers = 20

/** Counts what is made while `effect` runs. */
const counted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const made: Record<string, number> = { PROMISE: 0, Timeout: 0, Immediate: 0 }
    const hook = createHook({
      init: (_id, type) => {
        if (type in made) made[type] = (made[type] ?? 0) + 1
      }
    })
    yield* Effect.acquireUseRelease(
      Effect.sync(() => hook.enable()),
      () => effect,
      () => Effect.sync(() => hook.disable())
    )
    return made
  })

const nextFiber = Effect.flatMap(Effect.forkChild(Effect.void), (fiber) => Effect.as(Fiber.join(fiber), fiber.id))

/** What `each` calls by all callers make, and how many fibers. The callers' own fibers are not counted. */
const madeBy = (call: Effect.Effect<unknown, unknown, RedisService>, each: number) =>
  Effect.gen(function* () {
    const caller = Effect.forEach(Array.from({ length: each }), () => call, { discard: true })
    const before = yield* nextFiber
    const made = yield* counted(
      Effect.all(
        Array.from({ length: callers }, () => caller),
        { concurrency: callers }
      )
    )
    return { ...made, fibers: (yield* nextFiber) - before - callers }
  })

const calls = {
  "a command": Redis.command(["GET", "key"]),
  "a write": Redis.command(["SET", "key", "value"]),
  "a typed command": Command.make(["GET", "key"], Reader.asIs(Reader.nullable(Reader.text))),
  "a typed command whose reply is read": Command.make(["INCR", "count"], Reader.integer),
  "a command with options": Redis.command(["GET", "key"], { timeout: 2_000, decode: "bytes" }),
  "a pipeline": Redis.pipeline([
    ["GET", "key"],
    ["INCR", "count"]
  ]),
  "a transaction": Redis.transaction([
    ["GET", "key"],
    ["INCR", "count"]
  ])
}

describe("the hot path", () => {
  for (const [name, call] of Object.entries(calls)) {
    it.live(`makes no fiber, timer or promise for ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        yield* Effect.gen(function* () {
          yield* madeBy(call, 5)
          const few = yield* madeBy(call, 5)
          const many = yield* madeBy(call, 105)
          const more = Object.entries(many).map(
            ([type, count]) => [type, count - (Reflect.get(few, type) ?? 0)] as const
          )
          // 2 000 commands more. A sweep of the deadlines, or a reader that yields, may fall into it.
          for (const [type, count] of more) assert.isBelow(count, 100, `${type}: ${JSON.stringify({ few, many })}`)
        }).pipe(Effect.provide(Redis.layer({ port: server.port })))
      })
    )
  }
})

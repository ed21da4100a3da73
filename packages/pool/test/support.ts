/** What the tests of the pool share: a pool on a scripted server, and how to wait for what it does, without sleeping. */
import { Redis, type RedisError } from "@relive/core"
import type { ConnectionState, Service } from "@relive/core/RedisService"
import { Supervisor } from "@relive/otp"
import type * as Registry from "@relive/otp/Registry"
import { RedisPool } from "@relive/pool"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** The name of the pool under test. */
export const name: Registry.Name<Service> = Redis.Name("pool")

/** A member that went down stays down for as long as the test wants, and all dial in one moment. */
export const slow = {
  backoffFirst: "1 minute",
  backoffInitial: "1 minute",
  backoffCap: "1 minute",
  stagger: 0
} as const

/** The pool under test, in a tree; `Redis` is the pool. */
export const inTree = (options: Omit<RedisPool.ChildSpecOptions, "register">) =>
  Layer.provideMerge(
    Redis.layerNamed(name),
    Supervisor.layer(Supervisor.make({ children: [RedisPool.childSpec({ ...options, register: name })] }))
  )

/** The pool under test, to look inside. */
export const pool = Effect.map(RedisPool.find(name), Option.getOrThrow)

export const status = Effect.flatMap(pool, ({ status }) => status)

/** Waits until the status of the pool is what the test waits for, and after each event looks again. */
export const awaitStatus = (is: (status: RedisPool.PoolStatus) => boolean) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { events, status } = yield* pool
      const coming = yield* Effect.forkScoped(
        events.pipe(
          Stream.mapEffect(() => status),
          Stream.filter(is),
          Stream.take(1),
          Stream.runDrain
        ),
        { startImmediately: true }
      )
      if (is(yield* status)) return
      yield* Fiber.join(coming)
    })
  )

export const awaitReady = (count: number) => awaitStatus(({ ready }) => ready === count)

/** The places of the members in a state. */
export const membersIn = (...states: ReadonlyArray<ConnectionState>) =>
  Effect.map(status, ({ members }) => members.filter(({ state }) => states.includes(state)).map(({ index }) => index))

/** One member by itself. */
export const member = (index: number) => Redis.named(RedisPool.memberName(name, index))

/** Starts a call at once, so that it is submitted when this returns. */
export const submit = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** The reply of a call, or why it failed: `kind/delivery` of the connection, `phase/delivery` of a timeout, else the tag. */
export const outcomeOf = <A, R>(
  effect: Effect.Effect<A, RedisError.RedisError, R>
): Effect.Effect<A | string, never, R> =>
  Effect.match(effect, {
    onSuccess: (reply): A | string => reply,
    onFailure: ({ reason }) => {
      if (reason._tag === "ConnectionError") return `${reason.kind}/${reason.delivery}`
      return reason._tag === "TimeoutError" ? `${reason.phase}/${reason.delivery}` : reason._tag
    }
  })

/**
 * A server whose connections answer each `GET` and `SET` when the test lets them; `later` is the script of those that come
 * after the first `serving` ones.
 */
export const gatedServer = Effect.fnUntraced(function* (
  serving: number,
  later: FakeServer.Script = (connection) => connection.silent
) {
  const latches = Array.from({ length: serving }, () => Latch.makeUnsafe(true))
  const received: Array<Array<string>> = Array.from({ length: serving }, () => [])
  const fake = yield* FakeServer.make((connection) => {
    const latch = latches[connection.index]
    if (latch === undefined) return later(connection)
    return connection.serve(FakeServer.handshake, (command) => {
      received[connection.index]?.push(command.join(" "))
      return latch.whenOpen(Effect.succeed(command[0] === "GET" ? FakeServer.bulk("value") : "+OK\r\n"))
    })
  })
  const at = <A>(all: ReadonlyArray<A>, index: number): A => {
    const one = all[index]
    if (one === undefined) throw new Error(`There is no connection ${index}`)
    return one
  }
  return {
    fake,
    port: fake.port,
    /** Holds the answers of a connection back. */
    hold: (index: number) => at(latches, index).close,
    release: (index: number) => at(latches, index).open,
    received: (index: number): ReadonlyArray<string> => at(received, index),
    /** Waits until a connection has received so many commands. It runs in real time. */
    awaitReceived: (index: number, count: number) =>
      Effect.callback<void>((resume) => {
        const look = (): void => {
          if (at(received, index).length >= count) resume(Effect.void)
          else timer = setTimeout(look, 1)
        }
        let timer = setTimeout(look, 0)
        return Effect.sync(() => clearTimeout(timer))
      }),
    reset: (index: number) => Effect.flatMap(fake.connection(index), (connection) => connection.reset)
  }
})

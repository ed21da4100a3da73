/**
 * What the behaviour tests share: the matrix of real servers they run on, how a test says that it departs from its row, and
 * how to wait for what a connection does, without sleeping.
 */
import { layer, type TestOptions } from "@effect/vitest"
import { Redis, type RedisError, RedisOptions, type RedisService, Resp } from "@relive/core"
import type { ConnectionState } from "@relive/core/RedisService"
import { FakeServer, RedisServer } from "@relive/testing"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Net from "node:net"
import { Call } from "../../src/internal/call/call.ts"
import type { Outcome } from "../../src/internal/call/call.ts"
import { command } from "../../src/internal/call/reducers.ts"
import { Connection } from "../../src/internal/connection/connection.ts"
import { Session } from "../../src/internal/connection/session.ts"
import type { SessionHooks } from "../../src/internal/connection/session.ts"
import { sessionEnd } from "../../src/internal/transport/sessionEnd.ts"

declare module "vitest" {
  interface TaskMeta {
    relive?: ReadonlyArray<Departure>
  }
}

// ---------------------------------------------------------------------------------------------------------------- rows

/** How a test departs from the row whose id it carries. */
export interface Departure {
  readonly id: string
  readonly state: "better" | "overridden by this design" | "not applicable"
  readonly reason: string
}

/** The row describes a defect; this does what it asks for instead, or more. */
export const better = (id: string, reason: string): Departure => ({ id, state: "better", reason })

/** The design decides otherwise. */
export const overridden = (id: string, reason: string): Departure => ({
  id,
  state: "overridden by this design",
  reason
})

/** The row is about something that does not exist here. */
export const notApplicable = (id: string, reason: string): Departure => ({ id, state: "not applicable", reason })

/** The options of a test that departs from its rows. */
export const departs = (...departures: ReadonlyArray<Departure>): TestOptions => ({ meta: { relive: departures } })

// -------------------------------------------------------------------------------------------------------------- matrix

/** One way to reach a real server. */
export interface Cell {
  readonly name: string
  readonly resp: 2 | 3
  readonly transport: "TCP" | "Unix socket" | "TLS"
  readonly user: boolean
}

const cellOf = (resp: 2 | 3, transport: Cell["transport"], user: boolean): Cell => ({
  name: `RESP${resp}, ${transport}, ${user ? "ACL user" : "no user"}`,
  resp,
  transport,
  user
})

export const cells: ReadonlyArray<Cell> = [
  ...([2, 3] as const).flatMap((resp) =>
    (["TCP", "Unix socket"] as const).flatMap((transport) => [false, true].map((user) => cellOf(resp, transport, user)))
  ),
  // TLS is below all of it, so two of its four will do.
  cellOf(2, "TLS", false),
  cellOf(3, "TLS", true)
]

const username = "app"
const password = "s3cret:/@päß"

/** RESP2 comes in both of its forms: a server that does not know HELLO, and a client that does not say it. */
const serverOptions = ({ resp, transport, user }: Cell): RedisServer.Options => ({
  unixSocket: transport === "Unix socket",
  tls: transport === "TLS",
  resp2Only: resp === 2 && transport === "TCP",
  config: { "enable-debug-command": "yes" },
  ...(user ? { users: { default: "off", [username]: `on >${password} ~* &* +@all` } } : {})
})

/** How to reach the server of a cell. */
export const optionsOf = (cell: Cell): Effect.Effect<RedisOptions.Options, never, RedisServer.RedisServer> =>
  Effect.map(RedisServer.RedisServer, (server) => ({
    ...(cell.transport === "Unix socket" ? { path: server.path } : { port: server.port }),
    ...(server.tls === undefined ? {} : { tls: { ca: server.tls.ca } }),
    ...(cell.user ? { username, password } : {}),
    ...(cell.resp === 2 && cell.transport !== "TCP" ? { protocol: 2 as const } : {})
  }))

/** A connection of the test's own to the server of a cell. */
export const connect = (
  cell: Cell,
  options: RedisOptions.Options = {}
): Layer.Layer<RedisService, RedisError.RedisError, RedisServer.RedisServer> =>
  Layer.unwrap(Effect.map(optionsOf(cell), (reach) => Redis.layer({ ...reach, ...options })))

type InCell = (
  title: string,
  test: Effect.Effect<unknown, unknown, RedisService | RedisServer.RedisServer | Scope.Scope>,
  options?: TestOptions
) => void

/**
 * Declares tests for every cell. Each cell has one real server, emptied before each test, and each test a connection of its
 * own, which is what `Redis` uses in it.
 */
export const matrix = (name: string, tests: (it: InCell, cell: Cell) => void): void => {
  for (const cell of cells) {
    layer(RedisServer.layer(serverOptions(cell)), { excludeTestServices: true })(`${name} (${cell.name})`, (it) => {
      const inCell: InCell = (title, test, options) =>
        it.effect(
          title,
          () =>
            RedisServer.RedisServer.pipe(
              Effect.flatMap((server) => server.commands([["FLUSHALL"], ["SCRIPT", "FLUSH"]])),
              Effect.andThen(Effect.provide(test, connect(cell)))
            ),
          options
        )
      tests(inCell, cell)
    })
  }
}

// -------------------------------------------------------------------------------------------------------------- waiting

/** Why a call failed. */
export const reasonOf = <A, R>(
  effect: Effect.Effect<A, RedisError.RedisError, R>
): Effect.Effect<RedisError.Reason, A, R> => Effect.map(Effect.flip(effect), (error) => error.reason)

/** The connection error a call failed with, as `[kind, delivery]`; other reasons as `[tag]`. */
export const outcomeOf = <A, R>(effect: Effect.Effect<A, RedisError.RedisError, R>) =>
  Effect.map(Effect.exit(effect), (exit): ReadonlyArray<unknown> => {
    if (exit._tag === "Success") return [exit.value]
    const reason = exit.cause.reasons[0]
    if (reason?._tag !== "Fail") return [reason?._tag]
    const why = reason.error.reason
    if (why._tag === "ConnectionError") return [why.kind, why.delivery]
    if (why._tag === "TimeoutError") return [why._tag, why.phase, why.delivery]
    return [why._tag]
  })

/** Waits until the connection is, or comes to be, in a state. */
export const awaitState = (...states: ReadonlyArray<ConnectionState>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const change = Redis.events.pipe(
        Stream.filter(({ state }) => states.includes(state)),
        Stream.take(1),
        Stream.runDrain
      )
      const coming = yield* Effect.forkScoped(change, { startImmediately: true })
      if (states.includes((yield* Redis.status).state)) return
      yield* Fiber.join(coming)
    })
  )

/** Waits until the server holds back the reply of one connection. */
export const awaitBlocked = (server: RedisServer.RedisServer) =>
  Effect.repeat(
    Effect.map(server.command(["INFO", "clients"]), (info) => /blocked_clients:(\d+)/.exec(String(info))?.[1]),
    { until: (count) => count === "1" }
  )

/** Starts a call at once, so that it is submitted when this returns. */
export const submit = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

// ----------------------------------------------------------------------------------------------------------------- time

/** The sleeps that were asked of a clock. */
export interface SleepLog {
  /** Milliseconds of each sleep so far. */
  readonly all: ReadonlyArray<number>
  /** Takes the next sleep that has not been taken, or waits for it. */
  readonly next: Effect.Effect<number>
}

/**
 * Runs a test on a clock that tells which sleeps are asked of it, so that the test can wait for a timer to be set before
 * it moves the time. `skip` are sleeps of no interest, by their milliseconds; so are those of no time.
 */
export const withSleepLog = <A, E, R>(
  skip: ReadonlyArray<number>,
  test: (sleeps: SleepLog) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(Clock.Clock, (clock) => {
    const all: Array<number> = []
    const waiting: Array<(millis: number) => void> = []
    let taken = 0
    const note = (duration: Duration.Duration): void => {
      const millis = Duration.toMillis(duration)
      if (millis === 0 || skip.includes(millis)) return
      all.push(millis)
      const waiter = waiting.shift()
      if (waiter !== undefined) waiter(all[taken++]!)
    }
    const next = Effect.callback<number>((resume) => {
      const millis = all[taken]
      if (millis === undefined) waiting.push((later) => resume(Exit.succeed(later)))
      else {
        taken++
        resume(Exit.succeed(millis))
      }
    })
    const watched: Clock.Clock = {
      ...clock,
      sleep: (duration) =>
        Effect.andThen(
          Effect.sync(() => note(duration)),
          clock.sleep(duration)
        )
    }
    return Effect.provideService(test({ all, next }), Clock.Clock, watched)
  })

/** Runs with random numbers that are all the same. */
export const withRandom =
  (number: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, Random.Random, {
      nextDoubleUnsafe: () => number,
      nextIntUnsafe: () => Math.floor(number * Number.MAX_SAFE_INTEGER)
    })

/** Options of a connection that dials again at once. */
export const eager = { backoffFirst: 0, backoffInitial: 1, backoffCap: 5 } as const

// ---------------------------------------------------------------------------------------------------------------- fakes

/** Bytes as the encoder makes them, in one piece. */
export const encoded = (...commands: ReadonlyArray<Resp.Command>): string => {
  const chunks = Resp.encodePipeline(commands)
  if (chunks instanceof Resp.ArgumentFailure) throw new Error(chunks.message)
  return Buffer.concat(chunks.map((chunk) => Buffer.from(chunk))).toString()
}

/** Answers the handshake of every connection, and further commands by their handlers. */
export const serving =
  (...handlers: ReadonlyArray<FakeServer.Handler>): FakeServer.Script =>
  (connection) =>
    connection.serve(FakeServer.handshake, ...handlers)

/** The commands that a connection received, in order, each as its words joined by spaces. */
export const commandsOf = (fake: FakeServer.FakeServer, connection: number) =>
  Effect.map(fake.received(connection), (bytes): ReadonlyArray<string> => {
    const out: Array<Resp.Decoded<Resp.Reply>> = []
    Resp.makeDecoder().push(bytes, out)
    return out.map((command) => (Array.isArray(command) ? command.join(" ") : String(command)))
  })

const handshakeCommands = /^(?:HELLO|AUTH|SELECT|CLIENT SET|PING( [0-9a-f]{16}[23]?)?$)/

/** The same without what handshakes and health checks consist of. */
export const callsOf = (fake: FakeServer.FakeServer, connection: number) =>
  Effect.map(commandsOf(fake, connection), (commands) => commands.filter((command) => !handshakeCommands.test(command)))

// ------------------------------------------------------------------------------------------------------------- harness

/** A connection that the test closes, and its calls. */
export const closable = (options: RedisOptions.Options) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const context = yield* Scope.provide(Layer.build(Redis.layer(options)), scope)
    return {
      use: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideContext(effect, context),
      close: Scope.close(scope, Exit.void)
    }
  })

/** A socket that is open, at least on our side, and what it was given to write. */
export class Written extends Net.Socket {
  readonly texts: Array<string> = []
  override write(chunk: unknown): boolean {
    this.texts.push(String(chunk))
    return true
  }
}

/** A session without a socket. */
export const hooks: SessionHooks = { destroy: () => {}, ended: () => {} }

/** A connection without a supervisor, for the test to drive. */
export const makeParts = (options: RedisOptions.Options = {}) =>
  Effect.gen(function* () {
    const resolved = Result.getOrThrow(RedisOptions.resolve(options))
    const clock = yield* Clock.Clock
    const connection = new Connection(resolved, "shared", clock, () => 0.5)
    const start = () => {
      const decoder = Resp.makeDecoder({ volatile: true })
      const session = new Session(connection, resolved, decoder, hooks)
      connection.starting(session)
      return { decoder, session }
    }
    const outcomes: Array<Outcome> = []
    const call = (name: string, flags = 0, count = 1, timeout = 5000) => {
      const payload = `*1\r\n$${name.length}\r\n${name}\r\n`
      const resume = (outcome: Outcome) => outcomes.push(outcome)
      return new Call(payload, count, payload.length, name, flags, command, count, timeout, connection.now(), resume)
    }
    return { connection, start, call, outcomes }
  })

export const lost = sessionEnd({ kind: "disconnected", detail: "lost", permanent: false })

export const withServer = (options: RedisOptions.Options = {}, server: RedisServer.Options = {}) =>
  Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url, ...options }))).pipe(
    Layer.provideMerge(RedisServer.layer(server))
  )

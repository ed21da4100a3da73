/**
 * A scripted peer that speaks whatever its script says, byte by byte: for what no real server does on demand, such as
 * a reply cut in the middle, an old handshake, garbage, or silence.
 *
 * A script is an effect over one `Connection`: it takes commands, sends bytes, ends or resets the connection. What the
 * script does not expect fails the test: the server's scope closes with a `FakeServerError` as a defect that says what
 * came instead, unless `verify` or `done` has reported it before.
 *
 * Nothing here waits on the `Clock`, so it works under `TestClock`; a script may use either kind of time itself.
 *
 * **Example** (A reply in three pieces, then a reset)
 *
 * ```ts
 * import { FakeServer } from "@relive/testing"
 * import { Effect } from "effect"
 * import * as Net from "node:net"
 *
 * const program = Effect.gen(function* () {
 *   const fake = yield* FakeServer.make((connection) =>
 *     Effect.gen(function* () {
 *       yield* connection.expect(["GET", "greeting"])
 *       yield* connection.send("$5\r\nhello\r\n", { cuts: [1, 6] })
 *       yield* connection.expect(["PING"])
 *       yield* connection.reset
 *     })
 *   )
 *   const socket = Net.connect(fake.port, fake.host).on("error", () => {})
 *   socket.write("GET greeting\r\nPING\r\n")
 *   yield* fake.done
 *   return (yield* fake.log).map((entry) => entry.event)
 * }).pipe(Effect.scoped)
 *
 * await Effect.runPromise(program) // => ["opened", "received", "sent", "sent", "sent", "reset"]
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import type { Certificates } from "./Certificates.ts"
import { makeCertificates } from "./internal/certificates.ts"
import { FakeConnection } from "./internal/fakeConnection.ts"
import { FakeServerError } from "./internal/fakeServerError.ts"
import * as Listener from "./internal/listener.ts"
import { Signal } from "./internal/signal.ts"
import type { TlsFiles } from "./RedisServer.ts"

export { FakeServerError } from "./internal/fakeServerError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The script of a connection. One that ends leaves the connection open and expects nothing more on it; let it end
 * with `silent`, `serve`, `close` or `reset` where that is not meant.
 *
 * @since 0.1.0
 * @category models
 */
export type Script<R = never> = (connection: Connection) => Effect.Effect<unknown, FakeServerError, R>

/**
 * Replies to a command with bytes (as they go over the wire), with an effect that gives them, or with `""` for no reply;
 * `undefined` leaves the command to the next handler.
 *
 * @since 0.1.0
 * @category models
 */
export type Handler = (command: ReadonlyArray<string>, connection: Connection) => Answer | undefined

/**
 * The result of a `Handler`.
 *
 * @since 0.1.0
 * @category models
 */
export type Answer = string | Uint8Array | Effect.Effect<string | Uint8Array | void>

/**
 * The way in which bytes are sent. Pieces are separate writes at least `gapMillis` apart (default 1 when there are cuts), which
 * reach a client that keeps up as separate reads.
 *
 * @since 0.1.0
 * @category models
 */
export interface SendOptions {
  /** Cut into pieces of this many bytes, or at these offsets. */
  readonly cuts?: number | ReadonlyArray<number> | undefined
  /** Milliseconds of real time between two pieces. */
  readonly gapMillis?: number | undefined
  /** Milliseconds of real time before the first piece. */
  readonly delayMillis?: number | undefined
}

/**
 * One accepted connection, used by one fiber at a time.
 *
 * @since 0.1.0
 * @category models
 */
export interface Connection {
  /** The number of the connection, counted from 0. */
  readonly index: number
  /** Takes the next command (an array of bulk strings, or an inline command). */
  readonly command: Effect.Effect<ReadonlyArray<string>, FakeServerError>
  /** Takes the next command and fails unless it is this one (its name in any case), or one the predicate takes. */
  readonly expect: (
    expected: ReadonlyArray<string | number> | ((command: ReadonlyArray<string>) => boolean)
  ) => Effect.Effect<ReadonlyArray<string>, FakeServerError>
  /** Takes exactly these bytes; fails at the first other one. */
  readonly expectBytes: (expected: string | Uint8Array) => Effect.Effect<void, FakeServerError>
  /** Serves commands until the client closes; fails for a command that no handler takes. */
  readonly serve: (...handlers: ReadonlyArray<Handler>) => Effect.Effect<void, FakeServerError>
  /** Serves commands until one comes that no handler takes, and leaves that one for the next step. */
  readonly answer: (...handlers: ReadonlyArray<Handler>) => Effect.Effect<void, FakeServerError>
  /** Sends bytes; does nothing once the connection is closed. Strings go out as UTF-8. */
  readonly send: (data: string | Uint8Array, options?: SendOptions) => Effect.Effect<void>
  /** Swallows all that comes, without a reply, until the client closes. */
  readonly silent: Effect.Effect<void>
  /** Waits until the client has closed, or has ended its side. What came before is not lost. */
  readonly closed: Effect.Effect<void>
  /** Stops reading, so that the client's writes fill the buffers and stall. */
  readonly pauseReading: Effect.Effect<void>
  /** Reads on. */
  readonly resumeReading: Effect.Effect<void>
  /** Ends our side with FIN after what was sent; still reads (half-close). */
  readonly end: Effect.Effect<void>
  /** Closes in good order after what was sent. */
  readonly close: Effect.Effect<void>
  /** Closes with RST at once; a Unix socket knows no RST and just closes. */
  readonly reset: Effect.Effect<void>
}

/**
 * An event of a connection, in order: `ended` is our half-close, `reset` our RST, `closed` the end of the socket.
 *
 * @since 0.1.0
 * @category models
 */
export interface LogEntry {
  readonly connection: number
  readonly event: "opened" | "received" | "sent" | "ended" | "reset" | "closed"
  /** The bytes received or sent. */
  readonly bytes?: Uint8Array | undefined
}

/**
 * The way in which the server listens.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Speak TLS, with certificates made for this server. Default: false. */
  readonly tls?: boolean | undefined
  /** Listen on a Unix socket instead of a port. Default: false. */
  readonly unixSocket?: boolean | undefined
}

/**
 * A fake server that listens.
 *
 * @since 0.1.0
 * @category models
 */
export interface FakeServer {
  /** Always `127.0.0.1`. */
  readonly host: string
  /** The port; 0 for a Unix socket. */
  readonly port: number
  /** The Unix socket, if asked for. */
  readonly path?: string | undefined
  /** Certificates, if TLS was asked for. */
  readonly tls?: TlsFiles | undefined
  /** `redis://` or `rediss://` URL; `unix://` for a Unix socket. */
  readonly url: string
  /** Listens again after `stop`, at the same address. */
  readonly start: Effect.Effect<void>
  /** Refuses new connections and resets those there are; their scripts are interrupted. */
  readonly stop: Effect.Effect<void>
  /** The connection with this index; waits until there is one. For a test that scripts from its own fiber. */
  readonly connection: (index: number) => Effect.Effect<Connection>
  /** The number of connections accepted so far. */
  readonly accepted: Effect.Effect<number>
  /** All that happened, oldest first: the last 10 000 entries, fewer when they hold more than 64 MiB. */
  readonly log: Effect.Effect<ReadonlyArray<LogEntry>>
  /** All bytes that one connection received, from the log. */
  readonly received: (connection: number) => Effect.Effect<Uint8Array>
  /**
   * Waits until each script of a list (or the one script, once at least) was run and each script that began has ended,
   * or fails with what was unexpected first.
   */
  readonly done: Effect.Effect<void, FakeServerError>
  /** Fails with the first thing that was unexpected so far; what it reports does not fail the scope again. */
  readonly verify: Effect.Effect<void, FakeServerError>
}

/**
 * The service that `layer` provides.
 *
 * @since 0.1.0
 * @category services
 */
export const FakeServer = Context.Service<FakeServer>("@relive/testing/FakeServer")

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Starts a fake server that lives until the scope closes. One script is for every connection; of a list each
 * connection takes the next, and one more than there are is unexpected. Without a script, connections are silent until
 * a test takes them with `connection`.
 *
 * **Example** (The second connection gets its reply)
 *
 * ```ts
 * import { FakeServer } from "@relive/testing"
 * import { Effect } from "effect"
 *
 * const fake = FakeServer.make([
 *   (first) => Effect.andThen(first.expect(["PING"]), first.reset),
 *   (second) => second.serve(FakeServer.handshake, ([name]) => (name === "PING" ? "+PONG\r\n" : undefined))
 * ])
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <R = never>(
  script?: Script<R> | ReadonlyArray<Script<R>>,
  options: Options = {}
): Effect.Effect<FakeServer, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const certificates = options.tls === true ? makeCertificates() : undefined
    const listener = yield* Listener.make({ unixSocket: options.unixSocket === true })
    const run = Effect.runForkWith(yield* Effect.context<R>())
    const server = new Server(listener, certificates, planOf(script), run)
    yield* Effect.addFinalizer(() => server.release)
    yield* server.start
    return server
  })

/**
 * A fake server as a service.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <R = never>(
  script?: Script<R> | ReadonlyArray<Script<R>>,
  options: Options = {}
): Layer.Layer<FakeServer, never, Exclude<R, Scope.Scope>> => Layer.effect(FakeServer, make(script, options))

/**
 * A handler for what clients send before their first command: `HELLO` (RESP3 and RESP2), `AUTH`, `SELECT`, and
 * `CLIENT` with `SETNAME`, `SETINFO` and `ID`, and `PING`, with a text or without. It takes every password.
 *
 * @since 0.1.0
 * @category handlers
 */
export const handshake: Handler = ([name = "", ...args], connection) => {
  switch (name.toUpperCase()) {
    case "HELLO":
      return hello(args[0] === "3", connection.index)
    case "AUTH":
    case "SELECT":
      return "+OK\r\n"
    case "PING":
      return args[0] === undefined ? "+PONG\r\n" : bulk(args[0])
    case "CLIENT":
      return args[0]?.toUpperCase() === "ID" ? `:${connection.index + 1}\r\n` : "+OK\r\n"
    default:
      return undefined
  }
}

const hello = (resp3: boolean, index: number): string => {
  const entries = [
    [bulk("server"), bulk("redis")],
    [bulk("version"), bulk("7.4.0")],
    [bulk("proto"), `:${resp3 ? 3 : 2}\r\n`],
    [bulk("id"), `:${index + 1}\r\n`],
    [bulk("mode"), bulk("standalone")],
    [bulk("role"), bulk("master")],
    [bulk("modules"), "*0\r\n"]
  ]
  return `${resp3 ? `%${entries.length}` : `*${entries.length * 2}`}\r\n${entries.flat().join("")}`
}

/**
 * A bulk string as it goes over the wire: `bulk("hello")` is `"$5\r\nhello\r\n"`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

/**
 * An array of replies that are encoded already: `array(bulk("a"), ":1\r\n")`.
 *
 * @since 0.1.0
 * @category encoding
 */
export const array = (...items: ReadonlyArray<string>): string => `*${items.length}\r\n${items.join("")}`

// -----------------------------------------------------------------------------
// The server
// -----------------------------------------------------------------------------

const MAX_LOG_ENTRIES = 10_000
const MAX_LOGGED_BYTES = 64 * 1024 * 1024

/** The script of a connection: none at all, when the test takes the connections itself. */
interface Plan<R> {
  readonly scripted: boolean
  readonly scriptOf: (index: number) => Script<R> | undefined
  /** The number of connections to wait for. */
  readonly expected: number
}

const planOf = <R>(script: Script<R> | ReadonlyArray<Script<R>> | undefined): Plan<R> => {
  if (script === undefined) return { scripted: false, scriptOf: () => undefined, expected: 0 }
  if (typeof script === "function") return { scripted: true, scriptOf: () => script, expected: 1 }
  return { scripted: true, scriptOf: (index) => script[index], expected: script.length }
}

type Run<R> = (script: Effect.Effect<unknown, FakeServerError, R>) => Fiber.Fiber<unknown, FakeServerError>

class Server<R> implements FakeServer {
  readonly host: string
  readonly port: number
  readonly path: string | undefined
  readonly tls: TlsFiles | undefined
  readonly url: string

  private readonly listener: Listener.Listener
  private readonly certificates: Certificates | undefined
  private readonly plan: Plan<R>
  private readonly run: Run<R>
  private readonly connections: Array<FakeConnection> = []
  /** Scripts that run, by their connections; afterwards the watch over what comes unexpectedly. */
  private readonly fibers = new Set<Fiber.Fiber<unknown, FakeServerError>>()
  private scriptsEnded = 0
  private readonly problems: Array<FakeServerError> = []
  private readonly entries: Array<LogEntry> = []
  private loggedBytes = 0
  private readonly changed = new Signal()

  constructor(listener: Listener.Listener, certificates: Certificates | undefined, plan: Plan<R>, run: Run<R>) {
    this.listener = listener
    this.certificates = certificates
    this.plan = plan
    this.run = run
    this.host = listener.host
    this.port = listener.port
    this.path = listener.path
    this.tls = certificates && { ca: certificates.ca, ...certificates.client }
    const scheme = certificates === undefined ? "redis" : "rediss"
    this.url = this.path === undefined ? `${scheme}://${this.host}:${this.port}` : `unix://${this.path}`
    listener.onConnection = (socket) => this.accept(socket)
  }

  readonly start: Effect.Effect<void> = Effect.suspend(() => this.listener.open)

  readonly stop: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(this.listener.close, Effect.andThen(this.interruptScripts, this.resetAll))
  )

  readonly connection = (index: number): Effect.Effect<Connection> =>
    this.changed.waitFor(() => {
      const connection = this.connections[index]
      return connection && Exit.succeed(connection)
    })

  readonly accepted = Effect.sync(() => this.connections.length)
  readonly log = Effect.sync(() => this.entries.slice(-MAX_LOG_ENTRIES))

  readonly received = (connection: number): Effect.Effect<Uint8Array> =>
    Effect.sync(() => {
      const received = this.entries.filter((entry) => entry.connection === connection && entry.event === "received")
      return Buffer.concat(received.map((entry) => entry.bytes ?? Buffer.alloc(0)))
    })

  readonly done: Effect.Effect<void, FakeServerError> = Effect.suspend(() =>
    this.changed.waitFor<void, FakeServerError>(() => {
      const problem = this.problems.shift()
      if (problem !== undefined) return Exit.fail(problem)
      const scripts = Math.max(this.plan.expected, this.connections.length)
      return !this.plan.scripted || this.scriptsEnded >= scripts ? Exit.void : undefined
    })
  )

  readonly verify: Effect.Effect<void, FakeServerError> = Effect.suspend(() => {
    const problem = this.problems.shift()
    return problem === undefined ? Effect.void : Effect.fail(problem)
  })

  readonly release: Effect.Effect<void> = Effect.suspend(() =>
    this.listener.close.pipe(
      Effect.andThen(this.interruptScripts),
      Effect.andThen(Effect.forEach(this.connections, (connection) => connection.release, { discard: true })),
      Effect.andThen(Effect.suspend(() => this.reportProblems()))
    )
  )

  private readonly interruptScripts = Effect.suspend(() => Fiber.interruptAll(this.fibers))

  private readonly resetAll = Effect.suspend(() =>
    Effect.forEach(this.connections, (connection) => connection.reset, { discard: true })
  )

  private accept(raw: Net.Socket): void {
    const index = this.connections.length
    const connection = new FakeConnection({ index, raw, socket: this.secured(raw), log: (entry) => this.record(entry) })
    this.connections.push(connection)
    if (this.plan.scripted) this.runScript(connection)
    this.changed.notify()
  }

  private secured(raw: Net.Socket): Net.Socket {
    if (this.certificates === undefined) return raw
    return new Tls.TLSSocket(raw, { isServer: true, ...this.certificates.server })
  }

  private runScript(connection: FakeConnection): void {
    const script = this.plan.scriptOf(connection.index) ?? unexpectedConnection
    const ended = Effect.sync(() => {
      this.scriptsEnded++
      this.changed.notify()
    })
    const whole = Effect.suspend(() => script(connection)).pipe(
      Effect.tapCause((cause) => this.note(connection, cause)),
      Effect.ensuring(ended),
      Effect.andThen(connection.expectNothing.pipe(Effect.tapCause((cause) => this.note(connection, cause)))),
      Effect.andThen(connection.close)
    )
    const fiber = this.run(whole)
    this.fibers.add(fiber)
    fiber.addObserver(() => this.fibers.delete(fiber))
  }

  /** Keeps what a script failed with, and resets its connection so that no client waits for the rest. */
  private note(connection: FakeConnection, cause: Cause.Cause<FakeServerError>): Effect.Effect<void> {
    if (Cause.hasInterruptsOnly(cause)) return Effect.void
    const error = Cause.squash(cause)
    this.problems.push(
      error instanceof FakeServerError
        ? error
        : new FakeServerError({ connection: connection.index, message: `FakeServer: script: ${Cause.pretty(cause)}` })
    )
    this.changed.notify()
    return connection.reset
  }

  private reportProblems(): Effect.Effect<void> {
    const [first] = this.problems
    if (first === undefined) return Effect.void
    const message = this.problems.map((problem) => problem.message).join("\n")
    return Effect.die(new FakeServerError({ connection: first.connection, message }))
  }

  private record(entry: LogEntry): void {
    this.entries.push(entry)
    this.loggedBytes += entry.bytes?.length ?? 0
    if (this.entries.length <= 2 * MAX_LOG_ENTRIES && this.loggedBytes <= MAX_LOGGED_BYTES) return
    const dropped = this.entries.splice(0, Math.ceil(this.entries.length / 2))
    for (const { bytes } of dropped) this.loggedBytes -= bytes?.length ?? 0
  }
}

const unexpectedConnection = (connection: Connection): Effect.Effect<never, FakeServerError> =>
  Effect.fail(
    new FakeServerError({
      connection: connection.index,
      message: `FakeServer: connection ${connection.index} was not expected: no script is left`
    })
  )

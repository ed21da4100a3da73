/**
 * Real Redis (or Valkey) servers for tests: started on a free port, ready when they reply, killed at the end.
 *
 * Each server has a directory, a port and a process of its own, so any number of them run side by side. A server keeps
 * its port and its data when it is stopped or killed and started again; that is what a reconnecting client needs.
 * Waiting uses real time, so servers work under `it.effect` and its `TestClock`.
 *
 * The program is `RELIVE_REDIS_SERVER` (a path, or a name on `PATH`), else `redis-server`, else `valkey-server`.
 *
 * **Example** (A server as a layer)
 *
 * ```ts
 * import { RedisServer } from "@relive/testing"
 * import { assert, layer } from "@effect/vitest"
 * import { Effect } from "effect"
 *
 * layer(RedisServer.layer({ appendOnly: true }))("with a server", (it) => {
 *   it.effect("keeps its data over a crash", () =>
 *     Effect.gen(function* () {
 *       const server = yield* RedisServer.RedisServer
 *       yield* server.command(["SET", "greeting", "hello"])
 *       yield* server.kill
 *       yield* server.start
 *       assert.strictEqual(yield* server.command(["GET", "greeting"]), "hello")
 *     })
 *   )
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Path from "node:path"
import type { Certificates } from "./Certificates.ts"
import { findProgram } from "./internal/binary.ts"
import { configurationFile, host, prepare, writeFiles } from "./internal/configurationFile.ts"
import type { Settings } from "./internal/configurationFile.ts"
import * as Guardian from "./internal/guardian.ts"
import * as Ports from "./internal/ports.ts"
import * as RealTime from "./internal/realTime.ts"
import { ErrorValue, type Value } from "./internal/resp.ts"
import { exchange, type Address } from "./internal/respClient.ts"
import { ServerProcess } from "./internal/serverProcess.ts"
import * as TemporaryDirectory from "./internal/temporaryDirectory.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * An argument of a command: strings are sent as UTF-8, numbers in decimal, bytes as they are.
 *
 * @since 0.1.0
 * @category models
 */
export type Argument = string | number | bigint | Uint8Array

/**
 * A reply as `RedisServer.command` gives it: RESP2, with bulk strings as UTF-8 text. An error inside an array (of
 * `EXEC`, for instance) is an `ErrorReply`; an error by itself fails the command instead.
 *
 * @since 0.1.0
 * @category models
 */
export type Reply = string | number | null | ErrorReply | ReadonlyArray<Reply>

/**
 * An error among the elements of an array reply, with the server's text, such as `WRONGTYPE Operation against …`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorReply {
  readonly _tag: "ErrorReply"
  readonly message: string
}

/**
 * Directives of `redis.conf` by name. `true` and `false` are written `yes` and `no`, an empty string as `""`, anything
 * else as it is (quote a value with spaces yourself); an array repeats its directive.
 *
 * @since 0.1.0
 * @category models
 */
export type Directives = Readonly<Record<string, Directive | ReadonlyArray<Directive>>>

/**
 * One value of a `redis.conf` directive.
 *
 * @since 0.1.0
 * @category models
 */
export type Directive = string | number | boolean

/**
 * The options of a server. All of it is optional: the default is a server without password and without
 * persistence, on a free port of 127.0.0.1.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Further directives, such as `{ maxmemory: "10mb" }`. They come last and win over those of the other options. */
  readonly config?: Directives | undefined
  /** Password of the default user (`requirepass`). */
  readonly password?: string | Redacted.Redacted | undefined
  /** ACL users by name, with their rules: `{ app: "on >secret ~app:* +@all" }`. Needs a server from version 6 on. */
  readonly users?: Readonly<Record<string, string>> | undefined
  /**
   * Accept TLS only, with certificates made for this server unless the options give some. With `clientCertificate:
   * "required"` it turns clients without the one of `RedisServer.tls` away. Default: no TLS.
   */
  readonly tls?: boolean | TlsOptions | undefined
  /** Listen on a Unix socket too, at `RedisServer.path`. Default: false. */
  readonly unixSocket?: boolean | undefined
  /** Do not know `HELLO`, as servers before version 6. Default: false. */
  readonly resp2Only?: boolean | undefined
  /** Write each change to disk before it is acknowledged (`appendfsync always`). Default: false. */
  readonly appendOnly?: boolean | undefined
  /** Run as a Sentinel; what it watches is said by `sentinel` in `config`. `RedisSentinel` does that. Default: false. */
  readonly sentinel?: boolean | undefined
  /** The program to run, by path or by name. Default: see the module. */
  readonly binary?: string | undefined
  /** The time that a start may take, in milliseconds of real time. Default: 10 000. */
  readonly startTimeoutMillis?: number | undefined
}

/**
 * TLS of a server.
 *
 * @since 0.1.0
 * @category models
 */
export interface TlsOptions {
  /** Whether clients must show a certificate. Default: optional. */
  readonly clientCertificate?: "required" | "optional" | undefined
  /** Certificates for the server to use: servers that share them trust each other. Default: made for this server. */
  readonly certificates?: Certificates | undefined
}

/**
 * The material for a client to speak TLS with a server: PEM texts of the authority and of a client certificate.
 *
 * @since 0.1.0
 * @category models
 */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/**
 * A running server.
 *
 * @since 0.1.0
 * @category models
 */
export interface RedisServer {
  /** Always `127.0.0.1`. */
  readonly host: string
  /** The port, the same over restarts. */
  readonly port: number
  /** The Unix socket, if asked for. */
  readonly path?: string | undefined
  /** Certificates, if TLS was asked for. */
  readonly tls?: TlsFiles | undefined
  /** `redis://` or `rediss://` URL with the password, if there is one: not for logs. */
  readonly url: string
  /** The server's own directory, with its configuration and data; removed at the end. */
  readonly directory: string
  /** The process id; `undefined` while the server is down. */
  readonly pid: Effect.Effect<number | undefined>
  /** Starts the server again, on the same port with the same data, and waits until it replies. */
  readonly start: Effect.Effect<void, RedisServerError>
  /** Ends the server in good order (SIGTERM), also from a pause, and waits for it; after 10 s it is killed. */
  readonly stop: Effect.Effect<void>
  /** Ends the server as a crash does (SIGKILL) and waits for it. */
  readonly kill: Effect.Effect<void>
  /** Freezes the server (SIGSTOP): the kernel still accepts connections and bytes, but nothing replies. */
  readonly pause: Effect.Effect<void>
  /** Lets a frozen server go on (SIGCONT). */
  readonly resume: Effect.Effect<void>
  /**
   * Runs a command on a connection of its own, as a user who may do everything. It waits as long as the server takes.
   * Fails with kind `reply` for an error reply and `connection` when the server cannot be reached.
   */
  readonly command: (args: ReadonlyArray<Argument>) => Effect.Effect<Reply, RedisServerError>
  /** The same for several commands on one connection, in one write: also for what is state of a connection. */
  readonly commands: (
    commands: ReadonlyArray<ReadonlyArray<Argument>>
  ) => Effect.Effect<ReadonlyArray<Reply>, RedisServerError>
  /** The last lines that the server logged, over all its starts (at most 1 000). */
  readonly logs: Effect.Effect<ReadonlyArray<string>>
}

/**
 * The service that `layer` provides.
 *
 * @since 0.1.0
 * @category services
 */
export const RedisServer = Context.Service<RedisServer>("@relive/testing/RedisServer")

// -----------------------------------------------------------------------------
// Errors
// -----------------------------------------------------------------------------

/**
 * Why a server could not be started or asked.
 *
 * - `no-binary`: there is no server program. The message tells where it was looked for.
 * - `start`: it ended before it was ready, or was not ready in time. The message ends with its last log lines.
 * - `connection`: a command could not be sent or its reply not read.
 * - `reply`: the server replied with an error; `message` is its text.
 *
 * @since 0.1.0
 * @category errors
 */
export class RedisServerError extends Schema.TaggedError<RedisServerError>()("RedisServerError", {
  kind: Schema.Literals(["no-binary", "start", "connection", "reply"]),
  message: Schema.String
}) {}

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * Starts a server that lives until the scope closes, and waits until it replies. Use it for several servers in one
 * test; `layer` is the same as a service. Fails with kind `no-binary` or `start`.
 *
 * When the scope closes with a failure the last log lines go to standard error, and always when the server ended by
 * itself. The server is killed and its directory removed on every exit, even when the process of the test is killed.
 *
 * **Example** (Two servers)
 *
 * ```ts
 * import { RedisServer } from "@relive/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const old = yield* RedisServer.make({ resp2Only: true })
 *   const secret = yield* RedisServer.make({ password: "secret", tls: true })
 *   return [yield* old.command(["PING"]), yield* secret.command(["PING"])]
 * }).pipe(Effect.scoped)
 *
 * await Effect.runPromise(program) // => ["PONG", "PONG"]
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<RedisServer, RedisServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const binary = yield* findBinary(options)
    const port = yield* Ports.reserve(host)
    const directory = yield* TemporaryDirectory.make
    const settings = prepare(options, port, directory)
    yield* Effect.sync(() => writeFiles(settings))
    const guardian = yield* Guardian.make(directory)
    const server = new Server(binary, settings, guardian)
    yield* Effect.addFinalizer((exit) => server.release(Exit.isFailure(exit)))
    yield* server.start
    return server
  })

/**
 * A server as a service, for `Effect.provide` or `layer` of `@effect/vitest`. The layer is a value of its own per call:
 * call it once and share it, or each use starts another server.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<RedisServer, RedisServerError> =>
  Layer.effect(RedisServer, make(options))

// -----------------------------------------------------------------------------
// The program and its files
// -----------------------------------------------------------------------------

const findBinary = (options: Options): Effect.Effect<string, RedisServerError> =>
  Effect.suspend(() => {
    const chosen = options.binary ?? process.env.RELIVE_REDIS_SERVER
    const candidates = chosen !== undefined && chosen !== "" ? [chosen] : ["redis-server", "valkey-server"]
    for (const candidate of candidates) {
      const file = findProgram(candidate)
      if (file !== undefined) return Effect.succeed(file)
    }
    return Effect.fail(
      new RedisServerError({
        kind: "no-binary",
        message:
          `RedisServer: no server program: ${candidates.join(" and ")} not found or not executable. ` +
          "Install Redis or Valkey, or name the program in RELIVE_REDIS_SERVER."
      })
    )
  })

// -----------------------------------------------------------------------------
// The handle
// -----------------------------------------------------------------------------

const MAX_LOG_LINES = 1_000
const LOG_LINES_IN_ERROR = 20
const POLL_MILLIS = 5
const inspectSymbol = Symbol.for("nodejs.util.inspect.custom")
const STOP_MILLIS = 10_000

class Server implements RedisServer {
  readonly host = host
  readonly port: number
  readonly path: string | undefined
  readonly tls: TlsFiles | undefined
  readonly url: string
  readonly directory: string

  private readonly binary: string
  private readonly settings: Settings
  private readonly guardian: Guardian.Guardian
  private readonly address: Address
  private readonly lines: Array<string> = []
  private process: ServerProcess | undefined = undefined
  /** The present process is meant to end: its end is no surprise. */
  private ending = false
  private endedByItself = false
  private wasReady = false
  private released = false

  constructor(binary: string, settings: Settings, guardian: Guardian.Guardian) {
    this.binary = binary
    this.settings = settings
    this.guardian = guardian
    this.port = settings.port
    this.path = settings.path
    this.url = settings.url
    this.directory = settings.directory
    const certificates = settings.certificates
    this.tls = certificates && { ca: certificates.ca, ...certificates.client }
    this.address = { host, port: settings.port, path: settings.path, tls: this.tls }
  }

  readonly pid = Effect.sync(() => this.process?.pid)
  readonly logs = Effect.sync(() => [...this.lines])

  readonly start: Effect.Effect<void, RedisServerError> = Effect.suspend(() => {
    if (this.released) return this.startError("cannot be started: its scope has closed")
    const process = this.process
    if (process === undefined) return this.awaitReady(this.spawn())
    // One that was told to end has to be gone first; one that runs, or is starting, is the one to wait for.
    return this.ending ? Effect.andThen(process.awaitEnd, this.start) : this.awaitReady(process)
  })

  readonly stop: Effect.Effect<void> = this.end((process) => {
    process.signal("SIGTERM")
    process.signal("SIGCONT")
    return RealTime.timeoutOrElse(process.awaitEnd, STOP_MILLIS, () => killed(process))
  })

  readonly kill: Effect.Effect<void> = this.end(killed)

  readonly pause = Effect.sync(() => this.process?.signal("SIGSTOP"))
  readonly resume = Effect.sync(() => this.process?.signal("SIGCONT"))

  readonly command = (args: ReadonlyArray<Argument>): Effect.Effect<Reply, RedisServerError> =>
    Effect.flatMap(this.exchange([args]), ([value = null]) => succeedUnlessError(value))

  readonly commands = (
    commands: ReadonlyArray<ReadonlyArray<Argument>>
  ): Effect.Effect<ReadonlyArray<Reply>, RedisServerError> =>
    Effect.flatMap(this.exchange(commands), (values) => Effect.forEach(values, succeedUnlessError))

  /** For `console.log` and assertion messages: the URL and the settings hold passwords. */
  toJSON(): unknown {
    return { _tag: "RedisServer", host, port: this.port, path: this.path }
  }

  [inspectSymbol](): unknown {
    return this.toJSON()
  }

  /** The end of the scope: nothing of the server may be left, whatever state it is in. */
  release(failed: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.released = true
      return Effect.map(this.kill, () => {
        // A first start that failed has its log in the error.
        if (this.wasReady && (failed || this.endedByItself)) this.showLogs()
      })
    })
  }

  private spawn(): ServerProcess {
    const spawned = new ServerProcess({
      binary: this.binary,
      args: [Path.join(this.directory, configurationFile), ...(this.settings.sentinel ? ["--sentinel"] : [])],
      directory: this.directory,
      onLine: (line) => this.log(line),
      onEnd: (ending) => {
        this.log(`-- the server ended: ${ending}`)
        if (!this.ending) this.endedByItself = true
        this.process = undefined
        this.guardian.watch(undefined)
      }
    })
    this.process = spawned
    this.ending = false
    this.guardian.watch(spawned.pid)
    return spawned
  }

  private end(how: (process: ServerProcess) => Effect.Effect<unknown>): Effect.Effect<void> {
    return Effect.suspend(() => {
      const process = this.process
      if (process === undefined) return Effect.void
      this.ending = true
      return Effect.asVoid(how(process))
    })
  }

  /** Asks until the server replies to a PING; `LOADING` says to wait. */
  private awaitReady(process: ServerProcess): Effect.Effect<void, RedisServerError> {
    const ask: Effect.Effect<void> = Effect.matchEffect(this.exchange([["PING"]]), {
      onFailure: () =>
        Effect.andThen(
          RealTime.sleep(POLL_MILLIS),
          Effect.suspend(() => ask)
        ),
      onSuccess: ([value]) =>
        value instanceof ErrorValue && /^(LOADING|MASTERDOWN)/.test(value.message)
          ? Effect.andThen(
              RealTime.sleep(POLL_MILLIS),
              Effect.suspend(() => ask)
            )
          : Effect.sync(() => {
              this.wasReady = true
            })
    })
    const ended = Effect.flatMap(process.awaitEnd, (ending) => this.startError(`ended with ${ending}`))
    return RealTime.timeoutOrElse(Effect.raceFirst(ended, ask), this.settings.startTimeoutMillis, () =>
      this.startError(`was not ready within ${this.settings.startTimeoutMillis} ms`)
    )
  }

  private startError(what: string): Effect.Effect<never, RedisServerError> {
    const log = this.lines.slice(-LOG_LINES_IN_ERROR).join("\n")
    return Effect.fail(new RedisServerError({ kind: "start", message: `RedisServer: ${this.binary} ${what}\n${log}` }))
  }

  /** The replies to `commands`, after logging in where that is needed. */
  private exchange(commands: ReadonlyArray<ReadonlyArray<Argument>>): Effect.Effect<Array<Value>, RedisServerError> {
    const login = this.settings.login
    return Effect.suspend(() => {
      if (login === undefined) return exchange(this.address, commands)
      return Effect.map(exchange(this.address, [["AUTH", ...login], ...commands]), (values) => values.slice(1))
    }).pipe(
      Effect.mapError(
        (error) =>
          new RedisServerError({
            kind: "connection",
            message: `RedisServer: ${this.path ?? `${host}:${this.port}`}: ${error.message}`
          })
      )
    )
  }

  private log(line: string): void {
    this.lines.push(line)
    if (this.lines.length > MAX_LOG_LINES) this.lines.splice(0, this.lines.length - MAX_LOG_LINES)
  }

  private showLogs(): void {
    process.stderr.write(`\n-- log of ${this.binary} on ${host}:${this.port}\n${this.lines.join("\n")}\n`)
  }
}

const killed = (process: ServerProcess): Effect.Effect<unknown> =>
  Effect.suspend(() => {
    process.signal("SIGKILL")
    return process.awaitEnd
  })

const succeedUnlessError = (value: Value): Effect.Effect<Reply, RedisServerError> =>
  value instanceof ErrorValue
    ? Effect.fail(new RedisServerError({ kind: "reply", message: value.message }))
    : Effect.succeed(toReply(value))

const toReply = (value: Value): Reply => {
  if (Array.isArray(value)) return value.map(toReply)
  if (Buffer.isBuffer(value)) return value.toString("utf8")
  return value instanceof ErrorValue ? { _tag: "ErrorReply", message: value.message } : value
}

/**
 * Dialling a Redis server: a Node socket, made for each session, so that DNS is asked again as well, and secured by TLS
 * where the options say so.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Net from "node:net"
import { getSystemErrorMessage } from "node:util"
import type { Endpoint, ResolvedTls } from "../../RedisOptions.ts"
import { sessionEnd } from "./sessionEnd.ts"
import type { SessionEnd } from "./sessionEnd.ts"
import * as Tls from "./tls.ts"
import type { Wire } from "./wire.ts"

/** Where to dial, and how. */
export interface Target {
  readonly endpoint: Endpoint
  readonly tls: ResolvedTls | undefined
  readonly connectTimeoutMillis: number
  readonly addressTimeoutMillis: number
  readonly healthCheckIntervalMillis: number
}

/**
 * When TCP begins to ask a silent peer by itself, in milliseconds: for what blocks, and cannot be asked with a `PING`. Node
 * gives it up 10 seconds later. At most a minute, at which middle boxes forget a connection at the earliest.
 */
const keepAliveMillis = ({ healthCheckIntervalMillis }: Target): number =>
  Math.min(60_000, Math.max(1000, healthCheckIntervalMillis))

/** How Node is to dial. Commands are written in batches already: Nagle's algorithm would only delay them. */
export const tcpOptions = (target: Target, host: string, port: number): Net.TcpNetConnectOpts => ({
  host,
  port,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: keepAliveMillis(target),
  autoSelectFamily: true,
  autoSelectFamilyAttemptTimeout: Math.max(SHORTEST_ATTEMPT, Math.ceil(target.addressTimeoutMillis))
})

/** Node takes no less. */
const SHORTEST_ATTEMPT = 10

const connect = (target: Target, onread?: Net.OnReadOpts): Net.Socket => {
  const { endpoint } = target
  return endpoint._tag === "Unix"
    ? Net.connect({ path: endpoint.path, ...(onread && { onread }) })
    : Net.connect({ ...tcpOptions(target, endpoint.host, endpoint.port), ...(onread && { onread }) })
}

const errnoOf = (error: Error): number | undefined =>
  "errno" in error && typeof error.errno === "number" ? error.errno : undefined

/** The system's error, in words and with its code. A name with several addresses fails with an error for each. */
const inWords = (error: Error): string => {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.map((each: unknown) => (each instanceof Error ? inWords(each) : String(each))).join("; ")
  }
  const errno = errnoOf(error)
  return errno === undefined ? error.message : `${getSystemErrorMessage(errno)} (${error.message})`
}

const couldNotConnect = (cause: Error): SessionEnd =>
  sessionEnd({ kind: "connect", detail: `could not connect: ${inWords(cause)}`, permanent: false, cause })

const secured = (raw: Net.Socket, target: Target, tls: ResolvedTls) =>
  Effect.flatMap(Tls.secureContext(tls), (context) => {
    const { connectTimeoutMillis, endpoint } = target
    const host = endpoint._tag === "Unix" ? endpoint.path : endpoint.host
    return Effect.raceFirst(
      Tls.secure(raw, host, tls, context),
      Tls.failOnPlaintextServer(() => connect(target), connectTimeoutMillis)
    )
  })

/** Looks closer at why a server went away before it had said anything. */
export const diagnoseSilentClose = (target: Target, end: SessionEnd): Effect.Effect<SessionEnd> =>
  target.tls !== undefined || target.endpoint._tag === "Unix"
    ? Effect.succeed(end)
    : Tls.diagnoseSilentClose(() => connect(target), end)

/**
 * Dials, and attaches the open connection to the wire; interruptible at any time; the socket is destroyed when the scope
 * closes. `onOpen` runs when the connection is open, and again when it is secured, if it has to be. Returns what ends the
 * connection at once, both ways, whatever the peer does.
 */
export const dial = (
  target: Target,
  wire: Wire,
  onOpen: (secured: boolean) => void
): Effect.Effect<() => void, SessionEnd, Scope.Scope> =>
  Effect.gen(function* () {
    const { tls } = target
    let raw: Net.Socket | undefined
    let safe: Net.Socket | undefined
    const destroy = () => {
      safe?.destroy()
      raw?.destroy()
    }
    // Before the dial, so that no interruption can come between the two.
    yield* Scope.addFinalizer(yield* Effect.scope, Effect.sync(destroy))
    const open = yield* Effect.callback<Net.Socket, SessionEnd>((resume) => {
      const socket = connect(target, tls === undefined ? wire.onread : undefined)
      raw = socket
      if (tls === undefined) wire.attach(socket)
      // Stays: an error while nobody listens must not end the process.
      socket.on("error", (error) => resume(Effect.fail(couldNotConnect(error))))
      socket.once("connect", () => resume(Effect.succeed(socket)))
      return Effect.sync(destroy)
    })
    onOpen(tls === undefined)
    if (tls !== undefined) {
      safe = yield* secured(open, target, tls)
      wire.attachChunks(safe)
      onOpen(true)
    }
    return destroy
  })

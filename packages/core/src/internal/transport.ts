/**
 * Dialling a Redis server: a Node socket, made anew for each session, so that DNS is asked anew as well, and secured by TLS
 * where the options say so.
 *
 * @internal
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as Net from "node:net"
import { getSystemErrorMessage } from "node:util"
import type { Endpoint, ResolvedTls } from "../RedisOptions.ts"
import { sessionEnd } from "./session.ts"
import type { SessionEnd } from "./session.ts"
import * as Tls from "./tls.ts"

/** Where to dial, and how. */
export interface Target {
  readonly endpoint: Endpoint
  readonly tls: ResolvedTls | undefined
  readonly connectTimeoutMillis: number
}

/** An open connection. `destroy` ends it at once, both ways, whatever the peer does. */
export interface Transport {
  readonly socket: Socket.Socket
  readonly destroy: () => void
}

const connect = (endpoint: Endpoint): Net.Socket =>
  endpoint._tag === "Unix"
    ? Net.connect({ path: endpoint.path })
    : // Commands are written in batches already: Nagle's algorithm would only delay them.
      Net.connect({
        host: endpoint.host,
        port: endpoint.port,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: 60_000
      })

const errnoOf = (error: Error): number | undefined =>
  "errno" in error && typeof error.errno === "number" ? error.errno : undefined

/** What the system said, in words and with its code. A name with several addresses fails with an error for each. */
const inWords = (error: Error): string => {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.map((each: unknown) => (each instanceof Error ? inWords(each) : String(each))).join("; ")
  }
  const errno = errnoOf(error)
  return errno === undefined ? error.message : `${getSystemErrorMessage(errno)} (${error.message})`
}

const couldNotConnect = (cause: Error): SessionEnd =>
  sessionEnd({ kind: "connect", detail: `could not connect: ${inWords(cause)}`, refused: false, cause })

/** Before the plain `PING` that tells a server without TLS from a slow one. */
const SILENCE_MILLIS = 1000

const secured = (raw: Net.Socket, endpoint: Endpoint, tls: ResolvedTls, target: Target) =>
  Effect.flatMap(Tls.secureContext(tls), (context) => {
    const host = endpoint._tag === "Unix" ? endpoint.path : endpoint.host
    return Effect.raceFirst(
      Tls.secure(raw, host, tls, context),
      Tls.failIfPlain(() => connect(endpoint), Math.min(SILENCE_MILLIS, target.connectTimeoutMillis / 3))
    )
  })

/**
 * Dials; interruptible at any time; the socket is destroyed when the scope closes. `onOpen` runs when the connection is
 * open, and again when it is secured, if it has to be.
 */
export const dial = (
  target: Target,
  onOpen: (secured: boolean) => void
): Effect.Effect<Transport, SessionEnd, Scope.Scope> =>
  Effect.gen(function* () {
    const { endpoint, tls } = target
    let raw: Net.Socket | undefined
    let safe: Net.Socket | undefined
    const destroy = () => {
      safe?.destroy()
      raw?.destroy()
    }
    // Before the dial, so that no interruption can come between the two.
    yield* Scope.addFinalizer(yield* Effect.scope, Effect.sync(destroy))
    const open = yield* Effect.callback<Net.Socket, SessionEnd>((resume) => {
      const socket = connect(endpoint)
      raw = socket
      // Stays: an error while nobody listens must not end the process.
      socket.on("error", (error) => resume(Effect.fail(couldNotConnect(error))))
      socket.once("connect", () => resume(Effect.succeed(socket)))
      return Effect.sync(destroy)
    })
    onOpen(tls === undefined)
    if (tls !== undefined) {
      safe = yield* secured(open, endpoint, tls, target)
      onOpen(true)
    }
    const socket = yield* NodeSocket.fromDuplex(Effect.succeed(safe ?? open))
    return { socket, destroy }
  })

/**
 * Dialling a Redis server: a Node socket, made anew for each session, so that DNS is asked anew as well.
 *
 * @internal
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as Net from "node:net"
import { getSystemErrorMessage } from "node:util"

export type Endpoint =
  | { readonly _tag: "Tcp"; readonly host: string; readonly port: number }
  | { readonly _tag: "Unix"; readonly path: string }

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
export const inWords = (error: Error): string => {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.map((each: unknown) => (each instanceof Error ? inWords(each) : String(each))).join("; ")
  }
  const errno = errnoOf(error)
  return errno === undefined ? error.message : `${getSystemErrorMessage(errno)} (${error.message})`
}

/** Dials; interruptible at any time; the socket is destroyed when the scope closes. Fails with Node's error. */
export const dial = (endpoint: Endpoint): Effect.Effect<Transport, Error, Scope.Scope> =>
  Effect.gen(function* () {
    let raw: Net.Socket | undefined
    const destroy = () => {
      raw?.destroy()
    }
    // Before the dial, so that no interruption can come between the two.
    yield* Scope.addFinalizer(yield* Effect.scope, Effect.sync(destroy))
    const open = yield* Effect.callback<Net.Socket, Error>((resume) => {
      const socket = connect(endpoint)
      raw = socket
      // Stays: an error while nobody listens must not end the process.
      socket.on("error", (error) => resume(Effect.fail(error)))
      socket.once("connect", () => resume(Effect.succeed(socket)))
      return Effect.sync(destroy)
    })
    const socket = yield* NodeSocket.fromDuplex(Effect.succeed(open))
    return { socket, destroy }
  })

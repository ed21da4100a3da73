/**
 * A listening socket that can be closed and opened again on the same address. Connections are its owner's business: to
 * close the listener says nothing to them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Path from "node:path"
import * as Ports from "./ports.ts"
import * as TemporaryDirectory from "./temporaryDirectory.ts"

const host = "127.0.0.1"

export class Listener {
  readonly host = host
  readonly port: number
  readonly path: string | undefined
  /** Takes an accepted socket. Set before `open`. */
  onConnection: (socket: Net.Socket) => void = (socket) => socket.destroy()
  private server: Net.Server | undefined = undefined

  constructor(port: number, path: string | undefined) {
    this.port = port
    this.path = path
  }

  /** Begins to accept; does nothing while it does. */
  readonly open: Effect.Effect<void> = Effect.callback<void>((resume) => {
    if (this.server !== undefined) return resume(Effect.void)
    const server = Net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.onConnection(socket))
    this.server = server
    server.on("error", (error) => resume(Effect.die(error)))
    server.listen(this.path === undefined ? { port: this.port, host } : { path: this.path }, () => resume(Effect.void))
  })

  /** Refuses from now on: a dial gets ECONNREFUSED (or ENOENT for a Unix socket). */
  readonly close: Effect.Effect<void> = Effect.sync(() => {
    this.server?.close()
    this.server = undefined
  })
}

/** A listener on a port of its own, or on a Unix socket, not open yet; closed with the scope. */
export const make = (options: { readonly unixSocket: boolean }): Effect.Effect<Listener, never, Scope.Scope> =>
  Effect.gen(function* () {
    const path = options.unixSocket ? Path.join(yield* TemporaryDirectory.make, "listener.sock") : undefined
    const port = path === undefined ? yield* Ports.reserve(host) : 0
    const listener = new Listener(port, path)
    yield* Effect.addFinalizer(() => listener.close)
    return listener
  })

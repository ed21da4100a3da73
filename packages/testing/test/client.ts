/** A bare client for the tests of the tools. */
import { Effect } from "effect"
import * as Net from "node:net"

/** Keeps what it reads, chunk by chunk, and how it ended. */
export class Client {
  readonly socket: Net.Socket
  readonly chunks: Array<string> = []
  error: string | undefined = undefined

  constructor(socket: Net.Socket, text = "") {
    this.socket = socket
    socket.setEncoding("utf8")
    socket.on("data", (chunk: string) => this.chunks.push(chunk))
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? error.message
    })
    if (text !== "") socket.write(text)
  }

  get text(): string {
    return this.chunks.join("")
  }

  readonly until = (text: string): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      const check = () => {
        if (!this.text.includes(text)) return
        this.socket.off("data", check)
        resume(Effect.void)
      }
      this.socket.on("data", check)
      check()
      return Effect.sync(() => void this.socket.off("data", check))
    })

  readonly ended: Effect.Effect<void> = Effect.suspend(() => event(this.socket, "end", this.socket.readableEnded))
  readonly closed: Effect.Effect<void> = Effect.suspend(() => event(this.socket, "close", this.socket.closed))
}

const event = (socket: Net.Socket, name: "end" | "close", isPast: boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (isPast) return resume(Effect.void)
    const listener = () => resume(Effect.void)
    socket.once(name, listener)
    return Effect.sync(() => void socket.off(name, listener))
  })

/** A client that may half-close, destroyed with the scope. */
export const dial = (
  server: { readonly host: string; readonly port: number; readonly path?: string | undefined },
  text = ""
) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const target = server.path === undefined ? { host: server.host, port: server.port } : { path: server.path }
      return new Client(Net.connect({ ...target, allowHalfOpen: true }), text)
    }),
    (client) => Effect.sync(() => client.socket.destroy())
  )

/** Milliseconds of real time that `effect` takes. */
export const elapsed = <E, R>(effect: Effect.Effect<unknown, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(effect, () => performance.now() - start)
  })

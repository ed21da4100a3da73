/**
 * A client for one exchange: dials, sends, reads the replies, closes. It survives any restart by having no state.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { encodeCommand, Parser, type Argument, type Value } from "./resp.ts"

/** Where to dial: a Unix socket if there is a path, else TCP, under TLS if there are options for it. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly path?: string | undefined
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string } | undefined
}

/** Opens a socket to `address`; it emits `connect` (or `secureConnect`). */
export const dial = (address: Address): Net.Socket => {
  if (address.path !== undefined) return Net.connect({ path: address.path })
  const { host, port } = address
  if (address.tls === undefined) return Net.connect({ host, port, noDelay: true })
  return Tls.connect({ host, port, ...address.tls })
}

/**
 * Sends `commands` on a connection of their own and gives their replies, in order. Fails when the connection fails or
 * closes before the last reply; waits as long as the server does.
 */
export const exchange = (
  address: Address,
  commands: ReadonlyArray<ReadonlyArray<Argument>>
): Effect.Effect<Array<Value>, Error> =>
  Effect.callback<Array<Value>, Error>((resume) => {
    const parser = new Parser()
    const replies: Array<Value> = []
    const socket = dial(address)
    const settle = (result: Effect.Effect<Array<Value>, Error>) => {
      socket.destroy()
      resume(result)
    }
    socket.on("error", (error) => settle(Effect.fail(error)))
    socket.on("close", () => settle(Effect.fail(new Error("the server closed the connection"))))
    socket.on("data", (chunk) => {
      try {
        replies.push(...parser.push(chunk))
      } catch (error) {
        return settle(Effect.fail(error instanceof Error ? error : new Error(String(error))))
      }
      if (replies.length >= commands.length) settle(Effect.succeed(replies))
    })
    socket.write(Buffer.concat(commands.map(encodeCommand)))
    return Effect.sync(() => socket.destroy())
  })

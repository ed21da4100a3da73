import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import * as PeerSocket from "../src/internal/peerSocket.ts"

/** A client of a server that reads nothing. */
const connected = Effect.acquireRelease(
  Effect.callback<{ readonly server: Net.Server; readonly client: Net.Socket }>((resume) => {
    const server = Net.createServer({ pauseOnConnect: true }, (socket) => socket.on("error", () => {}))
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const client = Net.connect(port, "127.0.0.1")
      client.once("connect", () => resume(Effect.succeed({ server, client })))
    })
  }),
  ({ client, server }) =>
    Effect.sync(() => {
      client.destroy()
      server.close()
    })
)

describe("a reset", () => {
  it.live("closes a socket that is in the middle of ending", () =>
    Effect.gen(function* () {
      const { client } = yield* connected
      const errors: Array<Error> = []
      client.on("error", (error) => errors.push(error))
      const closed = Effect.callback<void>((resume) => PeerSocket.onClosed(client, () => resume(Effect.void)))
      client.end()
      PeerSocket.reset(client)
      yield* closed
      assert.deepStrictEqual(errors, [])
    })
  )
})

import { assert, describe, it } from "@effect/vitest"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { Leaks } from "../src/Leaks.ts"

const leaks: Effect.Effect<Leaks, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const started = new Leaks()
    started.start()
    return started
  }),
  (started) => Effect.sync(() => started.stop())
)

/** Waits for an event of a socket, and the ends of handles that Node reports by then. */
const event = (socket: Net.Socket, name: string): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    socket.once(name, () => setImmediate(() => setImmediate(() => resume(Effect.void))))
  })

/** An open socket is one; a closed one is none, though somebody holds the object. */
const isCounted = (dial: (server: RedisServer.RedisServer) => Net.Socket, opened: string, tls: boolean) =>
  Effect.gen(function* () {
    const server = yield* RedisServer.make({ tls })
    const followed = yield* leaks
    const before = yield* followed.held
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => dial(server)),
      (dialled) => Effect.sync(() => dialled.destroy())
    )
    yield* event(socket, opened)
    assert.strictEqual((yield* followed.since(before)).sockets, 1, "open")
    const closed = yield* Effect.forkChild(event(socket, "close"), { startImmediately: true })
    socket.destroy()
    yield* Fiber.join(closed)
    assert.strictEqual((yield* followed.since(before)).sockets, 0, "closed")
    assert.isTrue(socket.destroyed)
  })

describe("what is left behind", () => {
  it.live("is a TCP socket, once, until it is closed", () =>
    isCounted(({ host, port }) => Net.connect({ host, port }), "connect", false)
  )

  it.live("is a TLS socket, once, until it is closed", () =>
    isCounted(({ host, port, tls }) => Tls.connect({ host, port, ca: tls?.ca }), "secureConnect", true)
  )

  it.live("is a TLS socket over a socket of ours, once, until it is closed", () =>
    isCounted(
      ({ host, port, tls }) => Tls.connect({ socket: Net.connect({ host, port }), ca: tls?.ca, servername: "" }),
      "secureConnect",
      true
    )
  )
})

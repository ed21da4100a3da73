/** The HTTP server: `/`, `/tree`, `/process/SERIAL` and `/events`, on loopback, to read only. */
import type { SupervisorRef } from "@relive/otp/Supervisor"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import type { Observer } from "../Observer.ts"
import { page } from "./page.ts"
import { eventOf, nodeOf, processOf } from "./snapshot.ts"

const host = "127.0.0.1"

/** The bytes that a browser which does not read may be behind; further events are left out. */
const BEHIND = 1 << 20

const security = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff"
}

/** Names by which a browser on this machine reaches us. Others are pages that were given our address as theirs. */
const isOurs = (request: Http.IncomingMessage): boolean => {
  const name = (request.headers.host ?? "").replace(/:\d+$/, "")
  return name === host || name === "localhost"
}

export const serve = (root: SupervisorRef<never>, port: number): Effect.Effect<Observer, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<never>()
    const watchers = new Set<Fiber.Fiber<void>>()
    const server = Http.createServer((request, response) => {
      // An observer must not bring down what it looks at.
      try {
        answer(root, context, watchers, request, response)
      } catch (error) {
        if (!response.headersSent) response.writeHead(500, security)
        response.end(`The tree could not be read: ${error instanceof Error ? error.name : typeof error}`)
      }
    })
    yield* Effect.acquireRelease(listen(server, port), () => close(server, watchers))
    // A server that listens on a port has an address of this kind.
    const bound = (server.address() as AddressInfo).port
    const url = `http://${host}:${bound}`
    yield* Effect.logInfo(`The observer of "${root.process.path}" is at ${url}`)
    return { url, port: bound }
  })

const listen = (server: Http.Server, port: number): Effect.Effect<void, unknown> =>
  Effect.callback((resume) => {
    const failed = (error: unknown) => resume(Effect.fail(error))
    server.once("error", failed)
    server.listen({ host, port }, () => {
      server.off("error", failed)
      resume(Effect.void)
    })
  })

const close = (server: Http.Server, watchers: Set<Fiber.Fiber<void>>): Effect.Effect<void> =>
  Effect.callback((resume) => {
    for (const watcher of watchers) watcher.interruptUnsafe()
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

const answer = (
  root: SupervisorRef<never>,
  context: Context.Context<never>,
  watchers: Set<Fiber.Fiber<void>>,
  request: Http.IncomingMessage,
  response: Http.ServerResponse
): void => {
  const send = (status: number, type: string, body: string): void => {
    response.writeHead(status, { ...security, "content-type": type })
    response.end(request.method === "HEAD" ? undefined : body)
  }
  const json = (value: unknown): void => send(200, "application/json", JSON.stringify(value))
  if (!isOurs(request)) return send(403, "text/plain", "The observer serves this machine only: use http://127.0.0.1")
  if (request.method !== "GET" && request.method !== "HEAD") return send(405, "text/plain", "The observer only looks")
  const { pathname } = new URL(request.url ?? "/", `http://${host}`)
  if (pathname === "/") return send(200, "text/html; charset=utf-8", page)
  if (pathname === "/tree") return json(nodeOf(Effect.runSync(root.tree)))
  if (pathname === "/events") return watch(root, context, watchers, response)
  const serial = /^\/process\/(\d+)$/.exec(pathname)?.[1]
  const process = serial === undefined ? undefined : processOf(Effect.runSync(root.tree), Number(serial))
  if (process !== undefined) return json(process)
  send(404, "text/plain", "There is /, /tree, /events and /process/SERIAL")
}

/** Server-sent events, for as long as the browser listens. */
const watch = (
  root: SupervisorRef<never>,
  context: Context.Context<never>,
  watchers: Set<Fiber.Fiber<void>>,
  response: Http.ServerResponse
): void => {
  response.writeHead(200, { ...security, "content-type": "text/event-stream" })
  response.write(": the events of the tree from now on\n\n")
  const telling = Stream.runForEach(root.events, (event) =>
    Effect.sync(() => {
      if (response.writableLength < BEHIND) response.write(`data: ${JSON.stringify(eventOf(event))}\n\n`)
    })
  )
  const watcher = Effect.runForkWith(context)(telling)
  watchers.add(watcher)
  response.on("close", () => watcher.interruptUnsafe())
  watcher.addObserver(() => {
    watchers.delete(watcher)
    response.end()
  })
}

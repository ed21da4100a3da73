/** What the observer serves, and to whom. */
import { assert, describe, it } from "@effect/vitest"
import { Observer } from "@relive/observer"
import { ChildSpec, GenServer, Registry, Supervisor, type Process } from "@relive/otp"
import { Effect, Layer, Logger, Schema } from "effect"
import * as Http from "node:http"

interface Hanging {
  readonly call: GenServer.Call<{ readonly _tag: "Hang"; readonly password: string }, void>
  readonly cast: { readonly _tag: "Store"; readonly password: string }
}

const hanging = GenServer.make<Hanging, { readonly password: string }>()({
  init: () => GenServer.ok({ password: "s3cret-state" }),
  handleCall: { Hang: () => Effect.never },
  handleCast: (_, state) => GenServer.noReply(state),
  describe: () => ({ kind: "vault", facts: { entries: 1 } })
})

const name = Registry.name<GenServer.Server<Hanging>>("hanging")

const tree = Supervisor.make({
  intensity: 100,
  children: [
    ChildSpec.genServer({ id: "vault", server: hanging, name }),
    ChildSpec.effect({ id: "idle", run: Effect.never })
  ]
})

const live = Observer.layer().pipe(
  Layer.provideMerge(Supervisor.layer(tree, { id: "app" })),
  Layer.provide(Logger.layer([]))
)

interface Answer {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}

const request = (port: number, path: string, options: Http.RequestOptions = {}) =>
  Effect.callback<Answer, Error>((resume) => {
    const asked = Http.request({ host: "127.0.0.1", port, path, agent: false, ...options }, (response) => {
      const parts: Array<Buffer> = []
      response.on("data", (part: Buffer) => parts.push(part))
      response.on("end", () =>
        resume(
          Effect.succeed({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(parts).toString()
          })
        )
      )
    })
    asked.on("error", (error) => resume(Effect.fail(error)))
    asked.end()
    return Effect.sync(() => asked.destroy())
  })

interface Shown {
  readonly id: string
  readonly serial: number
  readonly state: string
  readonly handling?: { readonly what: string; readonly millis: number }
  readonly details?: Process.Details
  readonly children: ReadonlyArray<Shown>
}

const shownTree = (port: number) => Effect.map(request(port, "/tree"), ({ body }) => JSON.parse(body) as Shown)

describe("the observer serves", () => {
  it.live("the tree, a process, and a page, without states and payloads", () =>
    Effect.gen(function* () {
      const { port, url } = yield* Observer.Observer
      assert.strictEqual(url, `http://127.0.0.1:${port}`)
      const server = yield* GenServer.named(name)
      yield* Effect.forkChild(server.call({ _tag: "Hang", password: "s3cret-call" }, { timeout: "infinity" }))
      yield* Effect.yieldNow
      yield* server.cast({ _tag: "Store", password: "s3cret-cast" })
      const shown = yield* shownTree(port)
      assert.deepStrictEqual([shown.id, shown.children.map(({ id }) => id)], ["app", ["vault", "idle"]])
      const [vault] = shown.children
      assert.strictEqual(vault?.handling?.what, "call Hang")
      assert.deepStrictEqual(vault?.details, { kind: "vault", facts: { entries: 1 } })
      const looked = yield* request(port, `/process/${vault?.serial}`)
      const info = JSON.parse(looked.body) as Record<string, unknown>
      assert.deepStrictEqual([info["path"], info["mailboxDepth"], info["supervisor"]], ["app/vault", 1, "app"])
      const page = yield* request(port, "/")
      assert.include(page.headers["content-type"], "text/html")
      assert.include(page.headers["content-security-policy"], "default-src 'none'")
      for (const { body } of [looked, page, yield* request(port, "/tree")]) assert.notInclude(body, "s3cret")
    }).pipe(Effect.provide(live))
  )

  it.live("events as they happen", () =>
    Effect.gen(function* () {
      const { port } = yield* Observer.Observer
      const root = yield* Supervisor.SupervisorRef
      const received = yield* Effect.callback<string, Error>((resume) => {
        const asked = Http.request({ host: "127.0.0.1", port, path: "/events", agent: false }, (response) => {
          let text = ""
          response.on("data", (part: Buffer) => {
            text += part.toString()
            if (text.startsWith(": ") && !text.includes("data:")) Effect.runFork(root.terminateChild("idle"))
            if (text.includes("data:") && text.endsWith("\n\n")) resume(Effect.succeed(text))
          })
        })
        asked.on("error", (error) => resume(Effect.fail(error)))
        asked.end()
        return Effect.sync(() => asked.destroy())
      })
      const data = received.split("\n").find((line) => line.startsWith("data: "))
      assert.deepInclude(JSON.parse(data?.slice(6) ?? "{}"), {
        _tag: "ChildExited",
        path: "app/idle",
        reason: "shutdown"
      })
    }).pipe(Effect.provide(live))
  )

  it.live("this machine alone, and only to look", () =>
    Effect.gen(function* () {
      const { port } = yield* Observer.Observer
      const rebound = yield* request(port, "/tree", { headers: { host: "evil.example" } })
      assert.deepStrictEqual([rebound.status, rebound.body.includes("vault")], [403, false])
      assert.strictEqual((yield* request(port, "/tree", { headers: { host: `localhost:${port}` } })).status, 200)
      assert.strictEqual((yield* request(port, "/tree", { method: "POST" })).status, 405)
      assert.strictEqual((yield* request(port, "/nothing")).status, 404)
      assert.strictEqual((yield* request(port, "/process/999999999")).status, 404)
      const { headers } = yield* request(port, "/tree")
      assert.isUndefined(headers["access-control-allow-origin"])
    }).pipe(Effect.provide(live))
  )

  it.live("a tree that cannot be read as an error, and goes on", () =>
    Effect.gen(function* () {
      let isBroken = true
      const child = ChildSpec.make({
        id: "child",
        start: Effect.succeed(
          ChildSpec.started({
            run: Effect.never,
            mailboxDepth: () => {
              if (isBroken) throw new RangeError("s3cret")
              return 7
            }
          })
        )
      })
      const layer = Observer.layer().pipe(
        Layer.provideMerge(Supervisor.layer(Supervisor.make({ children: [child] }))),
        Layer.provide(Logger.layer([]))
      )
      yield* Effect.gen(function* () {
        const { port } = yield* Observer.Observer
        const failed = yield* request(port, "/tree")
        assert.deepStrictEqual([failed.status, failed.body], [500, "The tree could not be read: RangeError"])
        isBroken = false
        assert.strictEqual((yield* request(port, "/tree")).status, 200)
      }).pipe(Effect.provide(layer))
    })
  )

  it.live("as a child of its tree, until it stops; a port that is taken is a failed start that says so", () =>
    Effect.gen(function* () {
      const observed = Supervisor.make({
        children: [Observer.childSpec(), ChildSpec.effect({ id: "x", run: Effect.never })]
      })
      const port = yield* Effect.gen(function* () {
        const root = yield* Supervisor.SupervisorRef
        const child = (yield* root.whichChildren).find(({ id }) => id === "observer")
        const { port } = yield* Schema.decodeUnknownEffect(Schema.Struct({ port: Schema.Number }))(child?.info)
        assert.deepStrictEqual(
          (yield* shownTree(port)).children.map(({ id }) => id),
          ["observer", "x"]
        )
        const second = yield* Effect.flip(Effect.scoped(Observer.make(root, { port })))
        assert.strictEqual(second._tag, "ObserverError")
        assert.include(second.message, `127.0.0.1:${port}`)
        return port
      }).pipe(Effect.provide(Supervisor.layer(observed)))
      const refused = yield* Effect.flip(request(port, "/"))
      assert.include(refused.message, "ECONNREFUSED")
    }).pipe(Effect.provide(Logger.layer([])))
  )

  it.live("leaves nothing behind, also while a browser listens", () =>
    Effect.gen(function* () {
      const before = process.getActiveResourcesInfo().filter((name) => name.includes("TCP")).length
      yield* Effect.gen(function* () {
        const { port } = yield* Observer.Observer
        yield* Effect.forkChild(request(port, "/events"))
        yield* request(port, "/tree")
        yield* Effect.sleep(20)
      }).pipe(Effect.provide(live))
      yield* Effect.sleep(50)
      assert.isAtMost(process.getActiveResourcesInfo().filter((name) => name.includes("TCP")).length, before)
    })
  )
})

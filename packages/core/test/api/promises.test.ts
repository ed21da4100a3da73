/** The bridge to Promises, and three libraries of the ecosystem on it, as they are on npm. */
import { Promises, Redis, RedisService } from "@relive/core"
import { RedisServer } from "@relive/testing"
import { assert, layer } from "@effect/vitest"
import { RedisStore as SessionStore } from "connect-redis"
import * as Effect from "effect/Effect"
import express from "express"
import type { Express } from "express"
import { rateLimit } from "express-rate-limit"
import session from "express-session"
import { Keyv } from "keyv"
import * as Http from "node:http"
import { RedisStore as RateLimitStore } from "rate-limit-redis"

declare module "express-session" {
  interface SessionData {
    visits: number
  }
}

const redis = Effect.flatMap(RedisServer.RedisServer, ({ url }) =>
  Effect.acquireRelease(
    Effect.sync(() => Promises.fromLayer(Redis.layer({ url }))),
    (client) => Effect.promise(() => client.close())
  )
)

/** The address of an application that listens until the scope closes. */
const listen = (app: Express) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<Http.Server>((resolve) => {
            const server = Http.createServer(app).listen(0, "127.0.0.1", () => resolve(server))
          })
      ),
      (server) =>
        Effect.sync(() => {
          server.closeAllConnections()
          server.close()
        })
    ),
    (server) => {
      const address = server.address()
      return typeof address === "object" && address !== null ? `http://127.0.0.1:${address.port}` : ""
    }
  )

layer(RedisServer.layer(), { excludeTestServices: true })("Promises", (it) => {
  it.effect("sends a command in either form, and gives plain replies", () =>
    Effect.gen(function* () {
      const client = yield* redis
      yield* Effect.promise(async () => {
        assert.strictEqual(await client.sendCommand(["SET", "p:a", 1]), "OK")
        assert.strictEqual(await client.sendCommand<string>("GET", "p:a"), "1")
        await client.hSet("p:h", "name", "Ada")
        assert.deepStrictEqual(await client.sendCommand("HGETALL", "p:h"), { name: "Ada" })
        const { get, set } = client
        await set("p:b", "x", { EX: 100, NX: true })
        assert.strictEqual(await set("p:b", "y", { NX: true }), null)
        assert.strictEqual(await get("p:b"), "x")
        assert.ok((await client.ttl("p:b")) > 90)
        assert.deepStrictEqual(await client.mGet(["p:a", "p:nothing", "p:b"]), ["1", null, "x"])
        const keys: Array<string> = []
        for await (const page of client.scanIterator({ MATCH: "p:*", COUNT: 1 })) keys.push(...page)
        assert.deepStrictEqual([...new Set(keys)].sort(), ["p:a", "p:b", "p:h"])
        assert.strictEqual(await client.del(["p:a", "p:b", "p:h"]), 3)
      })
    })
  )

  it.effect("rejects with the error of Relive, whose message is the server's", () =>
    Effect.gen(function* () {
      const client = yield* redis
      yield* Effect.promise(async () => {
        const error = await client.sendCommand("EVALSHA", "0".repeat(40), 0).then(
          () => undefined,
          (error: unknown) => error
        )
        assert.ok(error instanceof Error)
        assert.match(error.message, /^NOSCRIPT/)
        const refused = await client.sendCommand().then(
          () => undefined,
          (error: unknown) => error
        )
        assert.match(String(refused), /empty/)
      })
    })
  )

  it.effect("cancels with a signal, and takes nothing then", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const client = yield* redis
      const abort = new AbortController()
      const popped = client.sendCommand(["BLPOP", "p:queue", 0], { signal: abort.signal })
      yield* Effect.repeat(server.command(["INFO", "clients"]), {
        until: (info) => /blocked_clients:1/.test(String(info))
      })
      abort.abort(new Error("enough"))
      const error = yield* Effect.promise(() => popped.catch((error: unknown) => error))
      assert.strictEqual(String(error), "Error: enough")
      yield* Effect.promise(() => client.sendCommand("RPUSH", "p:queue", "kept"))
      assert.strictEqual(yield* Effect.promise(() => client.sendCommand("LPOP", "p:queue")), "kept")
    })
  )

  it.effect("ends with close, and leaves a service alone that somebody else made", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      yield* Effect.promise(async () => {
        const client = Promises.fromLayer(Redis.layer({ url: server.url }))
        assert.strictEqual(await client.ping(), "PONG")
        await client.close()
        await client.close()
        const error: unknown = await client.ping().catch((error: unknown) => error)
        assert.match(String(error), /shutdown/)
      })
      yield* Effect.provide(
        Effect.gen(function* () {
          const service = yield* RedisService
          const client = Promises.fromService(service)
          yield* Effect.promise(() => client.close())
          assert.strictEqual(yield* Redis.command(["PING"]), "PONG")
        }),
        Redis.layer({ url: server.url })
      )
    })
  )

  it.effect("tells every caller why its layer cannot be built, and nobody else", () =>
    Effect.gen(function* () {
      const client = Promises.fromLayer(
        Redis.layer({ url: "redis://127.0.0.1:1", start: "await", connectTimeout: 200 })
      )
      const error = yield* Effect.promise(() => client.ping().catch((error: unknown) => error))
      assert.match(String(error), /127\.0\.0\.1:1/)
      yield* Effect.promise(() => client.close())
    })
  )

  it.effect("carries rate-limit-redis, over a flush of the scripts", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.RedisServer
      const { sendCommand } = yield* redis
      const app = express()
      app.use(
        rateLimit({ limit: 3, windowMs: 60_000, legacyHeaders: true, store: new RateLimitStore({ sendCommand }) })
      )
      app.get("/", (_request, response) => void response.send("ok"))
      const url = yield* listen(app)
      const get = Effect.promise(() => fetch(url))
      const first = yield* get
      assert.strictEqual(first.status, 200)
      assert.strictEqual(first.headers.get("x-ratelimit-remaining"), "2")
      yield* server.command(["SCRIPT", "FLUSH"])
      const statuses = yield* Effect.forEach([1, 2, 3], () => Effect.map(get, ({ status }) => status))
      assert.deepStrictEqual(statuses, [200, 200, 429])
    })
  )

  it.effect("carries keyv, as a store of seven methods", () =>
    Effect.gen(function* () {
      const client = yield* redis
      const store = {
        opts: {},
        get: (key: string) => client.get(key),
        set: (key: string, value: string, ttl?: number) =>
          client.set(key, value, ttl === undefined ? {} : { PX: ttl }).then(() => true),
        delete: (key: string) => client.del(key).then((count) => count > 0),
        has: (key: string) => client.exists(key).then((count) => count > 0),
        clear: () => Promise.reject(new Error("a namespace is cleared key by key")),
        async *iterator(namespace: string) {
          for await (const keys of client.scanIterator({ MATCH: `${namespace}:*` })) {
            const values = keys.length === 0 ? [] : await client.mGet(keys)
            for (const [index, key] of keys.entries()) yield [key, values[index]]
          }
        },
        on: () => store
      }
      yield* Effect.promise(async () => {
        const keyv = new Keyv({ store, namespace: "p:keyv" })
        await keyv.set("a", { deep: [1, 2] }, 60_000)
        await keyv.set("b", "kept")
        assert.deepStrictEqual(await keyv.get("a"), { deep: [1, 2] })
        assert.strictEqual(await keyv.has("b"), true)
        assert.strictEqual(await keyv.delete("b"), true)
        assert.strictEqual(await keyv.get("b"), undefined)
        await keyv.clear()
        assert.strictEqual(await keyv.get("a"), undefined)
      })
    })
  )

  it.effect("carries connect-redis: a session over requests, listed and destroyed", () =>
    Effect.gen(function* () {
      const client = yield* redis
      // Its type asks for the whole of node-redis; what it calls is here.
      const store = new SessionStore({ client: client as never, prefix: "p:sess:" })
      const app = express()
      app.use(session({ store, secret: "a secret of a test", resave: false, saveUninitialized: false }))
      app.get("/", (request, response) => {
        request.session.visits = (request.session.visits ?? 0) + 1
        response.send(String(request.session.visits))
      })
      const url = yield* listen(app)
      yield* Effect.promise(async () => {
        const first = await fetch(url)
        const cookie = String(first.headers.get("set-cookie")).split(";")[0] ?? ""
        assert.strictEqual(await first.text(), "1")
        for (const count of ["2", "3", "4"]) {
          assert.strictEqual(await (await fetch(url, { headers: { cookie } })).text(), count)
        }
        const ids = await store.ids()
        assert.strictEqual(ids.length, 1)
        assert.strictEqual((await store.all()).length, 1)
        await store.clear()
        assert.strictEqual(await store.length(), 0)
        assert.strictEqual(await (await fetch(url, { headers: { cookie } })).text(), "1")
      })
    })
  )
})

/** The page in a real, headless Chromium. */
import { assert, afterAll, beforeAll, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { Observer } from "@relive/observer"
import { ChildSpec, DynamicSupervisor, ExitReason, GenServer, Registry, Supervisor } from "@relive/otp"
import { RedisPool } from "@relive/pool"
import { RedisServer } from "@relive/testing"
import { Deferred, Effect, Layer, Logger, Option } from "effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { chromium, type Browser, type Page } from "playwright-core"
import { ensureChromium } from "./chromium.ts"

let browser: Browser

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: ensureChromium(), args: ["--no-sandbox"] })
}, 300_000)

afterAll(async () => {
  await browser?.close()
})

/** Where screenshots are kept to be looked at. */
const pictures = process.env.RELIVE_SCREENSHOTS ?? Fs.mkdtempSync(Path.join(Os.tmpdir(), "relive-observer-"))

const promise = <A>(run: () => Promise<A>) => Effect.promise(run)

/** Opens the page; whatever goes wrong in it fails the test. */
const opened = Effect.fnUntraced(function* (colors: "light" | "dark" = "light") {
  const { url } = yield* Observer.Observer
  const problems: Array<string> = []
  const page = yield* Effect.acquireRelease(
    promise(async () => {
      const page = await browser.newPage({ viewport: { width: 1360, height: 800 }, colorScheme: colors })
      page.on("pageerror", (error) => problems.push(error.message))
      page.on("console", (message) => {
        if (message.type() === "error") problems.push(message.text())
      })
      await page.goto(url)
      await page.waitForSelector(".row")
      return page
    }),
    (page) => promise(() => page.close())
  )
  return { page, problems }
})

/** Waits until there is the text. */
const shows = (page: Page, selector: string, text: string) =>
  page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: 15_000 })

const row = (page: Page, path: string) => page.locator(`.row[data-path="${path}"]`)
const text = (page: Page, path: string) => promise(() => row(page, path).innerText())

interface Vault {
  readonly call: GenServer.Call<{ readonly _tag: "Unlock"; readonly code: string }, void>
}

const vault = GenServer.make<Vault, { readonly code: string }>()({
  init: () => GenServer.ok({ code: "s3cret" }),
  handleCall: { Unlock: () => Effect.never },
  describe: () => ({ kind: "vault", facts: { entries: 3 } })
})

const vaultName = Registry.name<GenServer.Server<Vault>>("vault")
const cacheName = Redis.Name("cache")

/** A tree with all that the page draws. `crash` ends the child `flaky`. */
const makeTree = (url: string) => {
  let crash: () => void = () => {}
  const flaky = ChildSpec.effect({
    id: "flaky",
    run: Effect.suspend(() => {
      const told = Deferred.makeUnsafe<never, Error>()
      crash = () => void Effect.runSync(Deferred.fail(told, new Error("no route to host")))
      return Deferred.await(told)
    })
  })
  const spec = Supervisor.make({
    intensity: 100,
    children: [
      Redis.childSpec({ id: "cache", url, register: cacheName }),
      RedisPool.childSpec({ id: "pool", url, size: 3 }),
      ChildSpec.genServer({ id: "vault", server: vault, name: vaultName }),
      ChildSpec.supervisor({ id: "workers", supervisor: Supervisor.make({ intensity: 100, children: [flaky] }) }),
      ChildSpec.effect({ id: "done", restart: "transient", run: Effect.void })
    ]
  })
  return { spec, crash: () => crash() }
}

const observed = <R>(spec: Supervisor.SupervisorSpec<ChildSpec.ChildSpec<unknown, Registry.Registry>, R>) =>
  Observer.layer().pipe(Layer.provideMerge(Supervisor.layer(spec, { id: "app" })), Layer.provide(Logger.layer([])))

describe("the page", () => {
  it.live(
    "draws the tree live: states, restarts with reasons, servers, connections and pool members, and no secret",
    () =>
      Effect.gen(function* () {
        const server = yield* RedisServer.make({ password: "passw0rd-s3cret" })
        const { crash, spec } = makeTree(server.url)
        yield* Effect.gen(function* () {
          const cache = yield* Redis.named(cacheName)
          yield* cache.command(["SET", "key-s3cret", "value-s3cret"])
          const { page, problems } = yield* opened()
          yield* promise(() => shows(page, "#link", "live"))
          assert.include(yield* text(page, "app/cache"), "redis connection ready: queued 0, in flight 0, sessions 1")
          assert.include(yield* text(page, "app/pool"), "redis pool ready: ready 3, size 3")
          assert.include(
            yield* text(page, "app/pool/member-1"),
            "redis connection ready: queued 0, in flight 0, sessions 1"
          )
          assert.include(yield* text(page, "app/cache/session"), "running")
          assert.include(yield* text(page, "app/done"), "stopped")
          const vaultServer = yield* GenServer.named(vaultName)
          yield* Effect.forkChild(vaultServer.call({ _tag: "Unlock", code: "call-s3cret" }, { timeout: "infinity" }))
          crash()
          yield* promise(() => shows(page, '[data-path="app/workers/flaky"]', "no route"))
          const flaky = yield* text(page, "app/workers/flaky")
          assert.match(flaky, /running\s+2\s+1/)
          const events = yield* promise(() => page.locator("#events").innerText())
          assert.include(events, "app/workers/flaky ended (crash: Error: no route to host)")
          assert.include(events, "app/workers/flaky restarts")
          yield* promise(() => shows(page, '[data-path="app/vault"]', "call Unlock for"))
          yield* promise(() => row(page, "app/vault").click())
          yield* promise(() => shows(page, "aside", "entries"))
          const detail = yield* promise(() => page.locator("aside").innerText())
          for (const shown of ["app/vault", "call Unlock for", "vault", "entries"]) assert.include(detail, shown)
          yield* promise(() => page.screenshot({ path: Path.join(pictures, "tree.png") }))
          yield* promise(() => page.locator("#filter").fill("redis connection"))
          assert.deepStrictEqual(
            yield* promise(() =>
              page.locator(".row").evaluateAll((rows) => rows.map((row) => row.getAttribute("data-path")))
            ),
            ["app/cache", "app/pool/member-0", "app/pool/member-1", "app/pool/member-2"]
          )
          const everything = yield* promise(async () => {
            const url = page.url()
            const trees = await Promise.all([fetch(`${url}tree`), fetch(url)].map(async (one) => (await one).text()))
            return `${await page.content()}${trees.join("")}`
          })
          assert.notInclude(everything, "s3cret")
          assert.deepStrictEqual(problems, [])
        }).pipe(Effect.scoped, Effect.provide(observed(spec)))
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "says so when the program does not answer any more",
    () =>
      Effect.gen(function* () {
        const idle = Supervisor.make({ children: [ChildSpec.effect({ id: "idle", run: Effect.never })] })
        const { page } = yield* opened("dark").pipe(
          Effect.tap(({ page }) => promise(() => page.screenshot({ path: Path.join(pictures, "dark.png") }))),
          Effect.provide(observed(idle))
        )
        yield* promise(() => shows(page, "#link", "the program does not answer"))
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "stays usable with 10 000 children: drawn, scrolled, filtered and looked into quickly",
    () =>
      Effect.gen(function* () {
        const many = Supervisor.make({
          children: [
            ChildSpec.supervisor({
              id: "sessions",
              name: Registry.name<Supervisor.SupervisorRef>("sessions"),
              supervisor: DynamicSupervisor.make({ intensity: 100 })
            })
          ]
        })
        yield* Effect.gen(function* () {
          const sessions = yield* Supervisor.named(Registry.name<Supervisor.SupervisorRef>("sessions"))
          for (let i = 0; i < 10_000; i++) {
            yield* sessions.startChild(ChildSpec.effect({ id: `session-${i}`, run: Effect.never }))
          }
          const { page, problems } = yield* opened()
          // Many children are shut at first: the rest of the tree is not pushed out of sight.
          assert.strictEqual(yield* promise(() => page.locator(".row").count()), 2)
          assert.include(yield* promise(() => page.locator("#counts").innerText()), "10002 processes")
          yield* promise(() => row(page, "app/sessions").locator(".toggle").click())
          yield* promise(() => page.waitForSelector('[data-path="app/sessions/session-0"]'))
          const drawn = yield* promise(() => page.locator(".row").count())
          assert.isBelow(drawn, 100)
          const scrolled = yield* promise(() =>
            page.evaluate<number>(`(async () => {
              const view = document.getElementById("view"), began = performance.now()
              for (let i = 1; i <= 50; i++) {
                view.scrollTop = i * 4000
                await new Promise((resolve) => requestAnimationFrame(resolve))
              }
              return performance.now() - began
            })()`)
          )
          assert.isBelow(scrolled / 50, 200, "milliseconds per frame")
          const last = yield* promise(() => page.locator(".row").last().getAttribute("data-path"))
          assert.match(last ?? "", /session-8\d\d\d/)
          yield* promise(() => page.screenshot({ path: Path.join(pictures, "many.png") }))
          const began = performance.now()
          yield* promise(() => page.locator("#filter").fill("session-9876"))
          yield* promise(() => page.waitForSelector('[data-path="app/sessions/session-9876"]'))
          yield* promise(() => row(page, "app/sessions/session-9876").click())
          yield* promise(() => shows(page, "aside", "session-9876"))
          assert.isBelow(performance.now() - began, 5000)
          // And it is live: the end of one is seen.
          const children = yield* sessions.whichChildren
          const process = Option.fromUndefinedOr(children.find(({ id }) => id === "session-9876")?.process)
          yield* Option.getOrThrow(process).exit(ExitReason.crash("gone"))
          yield* promise(() => shows(page, "#events", "session-9876"))
          assert.deepStrictEqual(problems, [])
        }).pipe(Effect.scoped, Effect.provide(observed(many)))
      }),
    90_000
  )
})

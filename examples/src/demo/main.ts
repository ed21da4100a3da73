/**
 * The demo: a server, a supervision tree with a connection and workers, faults, a view, and a verdict.
 */
import { Redis, type RedisService } from "@relive/core"
import { type Registry, Supervisor } from "@relive/otp"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { makeBook, type Book } from "./book.ts"
import { breakThings, type Struck } from "./faults.ts"
import { intro, struckLine } from "./frame.ts"
import * as logging from "./logs.ts"
import { open, type Screen } from "./screen.ts"
import { follow } from "./sessions.ts"
import type { Settings } from "./settings.ts"
import { Main, tree } from "./tree.ts"
import { judge } from "./verdict.ts"
import { show } from "./view.ts"
import type { Stop } from "./worker.ts"

/** The workers end with their last reply, whatever it is; a call ends within its deadline. */
const settleTimeout = "10 seconds"

/** Everything that the parts of the demo share. */
interface Stage {
  readonly settings: Settings
  readonly server: RedisServer.RedisServer
  readonly screen: Screen
  readonly logs: logging.Logs
  readonly book: Book
  readonly stop: Stop
  readonly struck: Array<Struck>
}

/** A server whose writes are on disk before they are acknowledged. */
const startServer: Effect.Effect<RedisServer.RedisServer, RedisServer.RedisServerError, Scope.Scope> = Effect.gen(
  function* () {
    const scope = yield* Scope.make()
    // Closed as if all went well: after Ctrl-C the server's own log would only hide what matters.
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    return yield* RedisServer.make({ appendOnly: true }).pipe(Scope.provide(scope))
  }
)

const awaitWorkers = (ref: Supervisor.SupervisorRef): Effect.Effect<void> =>
  Effect.map(ref.tree, ({ children }) => children.find(({ id }) => id === "workers")?.children ?? []).pipe(
    Effect.repeat({
      schedule: Schedule.spaced("20 millis"),
      until: (workers) => workers.every(({ state }) => state === "stopped")
    }),
    Effect.timeoutOption(settleTimeout)
  )

/** Inside of the running tree: breaks things, then lets the workers end. The tree is stopped after it. */
const play = Effect.fnUntraced(function* (
  stage: Stage
): Effect.fn.Return<
  void,
  RedisServer.RedisServerError,
  RedisService | Supervisor.SupervisorRef | Registry.Registry | Scope.Scope
> {
  const { book, logs, screen, server, settings, stop, struck } = stage
  const ref = yield* Supervisor.SupervisorRef
  const sessions = yield* follow
  const view = yield* Effect.forkScoped(show({ settings, book, logs, struck, tree: ref.tree }, screen))
  yield* breakThings(settings, server, sessions, (one) => {
    if (!struck.includes(one)) struck.push(one)
    if (!screen.live) screen.print([struckLine(one)])
  })
  stop.requested = true
  yield* awaitWorkers(ref)
  yield* Fiber.interrupt(view)
})

/** After Ctrl-C: the server, which it has hit as well, must not look as if it had ended by itself; the rest stops quietly. */
const abort = ({ logs, server }: Stage): Effect.Effect<void> =>
  Effect.suspend(() => {
    logs.onLine = undefined
    return server.kill
  })

/** Runs the demo. Answers whether everything held. */
export const demo = (settings: Settings): Effect.Effect<boolean, unknown> =>
  Effect.scoped(
    Effect.gen(function* () {
      const screen = yield* open
      const server = yield* startServer
      const book = yield* makeBook
      const logs = new logging.Logs()
      const stage: Stage = { settings, server, screen, logs, book, stop: { requested: false }, struck: [] }
      if (!screen.live) logs.onLine = (line) => screen.print([[{ text: `        ${line}`, style: "plain" }]])
      screen.print([...intro(settings, server.url), []])
      const running = Layer.provideMerge(
        Redis.layerNamed(Main),
        Supervisor.layer(tree(server.url, book, stage.stop), { id: "demo" })
      )
      yield* Effect.scoped(play(stage)).pipe(
        Effect.onInterrupt(() => abort(stage)),
        Effect.provide(running),
        Effect.provide(logging.layer(logs))
      )
      const verdict = yield* judge(settings, server, book, stage.struck)
      screen.print(verdict.lines)
      return verdict.ok
    })
  )

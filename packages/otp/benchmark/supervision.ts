/**
 * What supervision costs, against the bare fiber it adds to:
 *
 * - `startStop`: starting and stopping 10 000 children of one supervisor, per child, and how many bare forks, each
 *   interrupted and awaited, cost as much. Static children, and instances of a dynamic supervisor.
 * - `messages`: a call to a server that is idle, and a cast, of which 100 are sent in a row.
 * - `restart`: a crash and the restart of one child among 10 000, and how it compares with one among 10.
 *
 *     node packages/otp/benchmark/supervision.ts
 *
 * Prints one line of JSON, the last on stdout; times in microseconds. Each number is the median of several rounds after
 * a warm-up, all in one process. Logging is off, as the cost of a log line is the logger's.
 */
import * as ChildSpec from "@relive/otp/ChildSpec"
import * as DynamicSupervisor from "@relive/otp/DynamicSupervisor"
import * as GenServer from "@relive/otp/GenServer"
import * as Registry from "@relive/otp/Registry"
import * as Supervisor from "@relive/otp/Supervisor"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"

const children = 10_000
const rounds = 15

const median = (times: ReadonlyArray<number>): number => times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0

interface Case<R> {
  readonly effect: Effect.Effect<unknown, unknown, R>
  /** How many operations one run is. */
  readonly per: number
}

/** Median microseconds per operation of each case. The cases take turns, so that all meet the same machine. */
const measure = Effect.fnUntraced(function* <R>(cases: ReadonlyArray<Case<R>>) {
  const times = cases.map((): Array<number> => [])
  for (let round = 0; round < rounds + 3; round++) {
    for (const [index, { effect, per }] of cases.entries()) {
      const start = performance.now()
      yield* effect
      if (round >= 3) times[index]?.push(((performance.now() - start) * 1000) / per)
    }
  }
  return times.map(median)
})

const bare = Effect.gen(function* () {
  for (let i = 0; i < children; i++) {
    yield* Fiber.interrupt(yield* Effect.forkDetach(Effect.never, { startImmediately: true }))
  }
})

/** The same, but with all of them alive at a time, as children of a supervisor are. */
const bareTogether = Effect.gen(function* () {
  const fibers: Array<Fiber.Fiber<never>> = []
  for (let i = 0; i < children; i++) fibers.push(yield* Effect.forkDetach(Effect.never, { startImmediately: true }))
  for (const fiber of fibers) yield* Fiber.interrupt(fiber)
})

const idle = (id: string) => ChildSpec.effect({ id, run: Effect.never })

const specs = Array.from({ length: children }, (_, i) => idle(`child-${i}`))
const fixed = Supervisor.make({ children: specs })

const startStopStatic = Effect.scoped(Supervisor.start(fixed))

const startStopDynamic = Effect.gen(function* () {
  const ref = yield* Supervisor.start(DynamicSupervisor.make())
  for (const spec of specs) yield* ref.startChild(spec)
}).pipe(Effect.scoped)

/** A supervisor of `count` children, the middle one of which crashes on demand. */
const crashing = Effect.fnUntraced(function* (count: number) {
  let crash: () => void = () => {}
  let restarted: () => void = () => {}
  const victim = ChildSpec.make({
    id: "victim",
    start: Effect.suspend(() => {
      const told = Deferred.makeUnsafe<never, string>()
      crash = () => Deferred.doneUnsafe(told, Exit.fail("crash"))
      restarted()
      return Effect.succeed(ChildSpec.started({ run: Deferred.await(told) }))
    })
  })
  const half = specs.slice(0, count >> 1)
  yield* Supervisor.start(
    Supervisor.make({
      intensity: 1_000_000_000,
      period: 1,
      children: [...half, victim, ...specs.slice(count - half.length)]
    })
  )
  return Effect.callback<void>((resume) => {
    restarted = () => resume(Effect.void)
    crash()
  })
})

interface Counter {
  readonly call: GenServer.Call<{ readonly _tag: "Get" }, number>
  readonly cast: { readonly _tag: "Add" }
}

const counter = GenServer.make<Counter, number>()({
  init: () => GenServer.ok(0),
  handleCall: { Get: (_, count) => GenServer.reply(count, count) },
  handleCast: (_, count) => GenServer.noReply(count + 1)
})

const messages = 20_000

const calling = (server: GenServer.Server<Counter>) =>
  Effect.gen(function* () {
    for (let i = 0; i < messages; i++) yield* server.call({ _tag: "Get" })
  })

const casting = (server: GenServer.Server<Counter>) =>
  Effect.gen(function* () {
    for (let i = 0; i < messages; i++) {
      yield* server.cast({ _tag: "Add" })
      if (i % 100 === 99) yield* server.call({ _tag: "Get" })
    }
  })

const crashes = 2000

const repeated = (effect: Effect.Effect<void>, times: number) =>
  Effect.gen(function* () {
    for (let i = 0; i < times; i++) yield* effect
  })

const micros = (value: number) => Math.round(value * 100) / 100

const program = Effect.gen(function* () {
  const [fork = 0, together = 0, fixedOnes = 0, dynamicOnes = 0] = yield* measure([
    { effect: bare, per: children },
    { effect: bareTogether, per: children },
    { effect: startStopStatic, per: children },
    { effect: startStopDynamic, per: children }
  ])
  const server = yield* GenServer.start(counter)
  const [call = 0, cast = 0] = yield* measure([
    { effect: calling(server), per: messages },
    { effect: casting(server), per: messages }
  ])
  yield* server.stop()
  const few = yield* crashing(10)
  const many = yield* crashing(10_000)
  const [ten = 0, tenThousand = 0] = yield* measure([
    { effect: repeated(few, crashes), per: crashes },
    { effect: repeated(many, crashes), per: crashes }
  ])
  return {
    children,
    startStop: {
      bareForkAwait: micros(fork),
      bareForkAwaitAllAlive: micros(together),
      static: micros(fixedOnes),
      dynamic: micros(dynamicOnes),
      staticPerFork: micros(fixedOnes / fork),
      dynamicPerFork: micros(dynamicOnes / fork)
    },
    messages: { call: micros(call), cast: micros(cast) },
    restart: { oneAmong10: micros(ten), oneAmong10000: micros(tenThousand), ratio: micros(tenThousand / ten) }
  }
}).pipe(Effect.scoped, Effect.provide([Registry.layer, Logger.layer([])]))

process.stdout.write(`${JSON.stringify(await Effect.runPromise(program))}\n`)

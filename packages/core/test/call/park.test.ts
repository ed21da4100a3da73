/**
 * The two ways of waiting for a call do the same: parked fibers, and `Effect.callback`. Random programs (races, timeouts,
 * masks, finalizers, interruptions before, while and after a reply is there) are run both ways against the same scripted
 * server. Their journals are equal: what was written, every counter after every step, and how everything ended.
 *
 * A failure names its seed. `RELIVE_PARK_SEED` starts there, `RELIVE_PARK_ROUNDS` says how many seeds are tried.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, RedisOptions, RedisService, Resp } from "@relive/core"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { AsyncLocalStorage } from "node:async_hooks"
import { inspect } from "node:util"
import { allowParking, forbidParking, Parked, Waiting } from "../../src/internal/call/park.ts"
import { Connection } from "../../src/internal/connection/connection.ts"
import { Leases } from "../../src/internal/connection/leases.ts"
import { hooks } from "../behaviours/support.ts"
import { Session, type Sink } from "../../src/internal/connection/session.ts"
import { makeService } from "../../src/internal/service/service.ts"
import { sessionEnd } from "../../src/internal/transport/sessionEnd.ts"
import { Random } from "../behaviours/random.ts"

const firstSeed = Number(process.env.RELIVE_PARK_SEED ?? "1")
const rounds = Number(process.env.RELIVE_PARK_ROUNDS ?? "500")

type Program = Effect.Effect<unknown, RedisError.RedisError | Cause.TimeoutError, RedisService>

/** A connection without a socket. What it writes is in `journal`, and `answer` is the server. */
const makeBench = Effect.gen(function* () {
  const options = Result.getOrThrow(
    RedisOptions.resolve({ mailboxCommands: 4, inFlightCommands: 3, whenFull: "fail", timeout: "200 millis" })
  )
  const clock = yield* Clock.Clock
  const connection = new Connection(options, "shared", clock, () => 0.5)
  const journal: Array<string> = []
  let due = 0
  const sink: Sink = {
    upToDate: true,
    write: (chunks) => {
      const text = chunks.join("")
      journal.push(`wrote ${JSON.stringify(text)}`)
      due += text.split("*").length - 1
      return true
    },
    whenDrained: (then: () => void) => then()
  }
  let session: Session | undefined = undefined
  const start = Effect.gen(function* () {
    const next = new Session(connection, options, Resp.makeDecoder({ volatile: true }), hooks)
    session = next
    due = 0
    connection.starting(next)
    next.attach(sink)
    connection.ready(next)
  })
  yield* Effect.forkScoped(connection.deadlines.run, { startImmediately: true })
  yield* start
  const service = makeService(
    connection,
    new Leases(connection, () => assert.fail("no lease is asked for")),
    () => Stream.empty
  )
  let replies = 0
  return {
    journal,
    service,
    start,
    /** Replies to so many commands, in one batch; some are errors. */
    answer: (count: number): void => {
      const frames = Array.from({ length: Math.min(count, due) }, () => {
        replies++
        return replies % 5 === 0 ? new Resp.ReplyError({ code: "ERR", message: `e${replies}` }) : `r${replies}`
      })
      due -= frames.length
      if (frames.length > 0) session?.dispatch(frames)
    },
    drop: (): void => session?.die(sessionEnd({ kind: "disconnected", detail: "lost", permanent: false })),
    note: (what: string): void => {
      const { inFlight, queued, repeated } = connection.status
      journal.push(`${what}: ${queued} queued, ${inFlight} in flight, ${repeated} repeated`)
    }
  }
})

const describeExit = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return `succeeded ${JSON.stringify(exit.value)}`
  return exit.cause.reasons
    .map((reason) => {
      if (reason._tag === "Interrupt") return "interrupted"
      if (reason._tag === "Die") return `died ${String(reason.defect)}`
      const { error } = reason
      return error instanceof Error ? `failed ${error.message}` : `failed ${String(error)}`
    })
    .join(" and ")
}

/** Lets fibers and microtasks do what they can do now. */
const settleAll = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** Runs one random program in one way. Returns its journal. */
const run = (seed: number): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const random = new Random(seed)
    const bench = yield* makeBench
    const { journal } = bench
    const say = (what: string) => Effect.sync(() => void journal.push(what))
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
    let names = 0

    const commandOf = (): Program => {
      const name = random.pick("GET", "SET", "INCR")
      const key = `k${++names}`
      switch (random.below(6)) {
        case 0:
          return Redis.pipeline([
            ["GET", key],
            ["GET", key]
          ])
        case 1:
          return Redis.command([name, key], { timeout: random.pick(20, 60) })
        case 2:
          // Fails before anything is sent.
          return Redis.command(random.chance(0.3) ? ["SUBSCRIBE", key] : [name, key])
        default:
          return Redis.command([name, key])
      }
    }

    const programOf = (depth: number): Program => {
      if (depth === 0) return commandOf()
      const inner = () => programOf(depth - 1)
      const label = `p${++names}`
      switch (random.below(14)) {
        case 0:
          return Effect.onInterrupt(inner(), () => say(`${label} interrupted`))
        case 1:
          return Effect.ensuring(inner(), say(`${label} ensured`))
        case 2:
          return Effect.uninterruptible(inner())
        case 3: {
          const masked = inner()
          const open = inner()
          return Effect.uninterruptibleMask((restore) => Effect.andThen(masked, restore(open)))
        }
        case 4:
          return Effect.timeout(inner(), random.pick(10, 50))
        case 5:
          return Effect.race(inner(), inner())
        case 6:
          return Effect.raceFirst(inner(), Effect.sleep(random.pick(5, 30)))
        case 7:
          return Effect.all([inner(), inner()], { concurrency: 2 })
        case 8: {
          const forked = inner()
          return Effect.flatMap(Effect.forkChild(forked, { startImmediately: true }), Fiber.join)
        }
        case 9: {
          // The same value, run twice.
          const twice = inner()
          return Effect.andThen(twice, twice)
        }
        case 10:
          return Effect.catch(inner(), (error) => Effect.succeed(`caught ${error._tag}`))
        case 11: {
          // Interrupts somebody as soon as it is resumed, in the turn of the reply: perhaps itself.
          const which = random.next()
          return Effect.tap(inner(), () =>
            Effect.sync(() => fibers[Math.floor(which * fibers.length)]?.interruptUnsafe())
          )
        }
        case 12: {
          // Is interrupted before it submits.
          const late = inner()
          return Effect.andThen(
            Effect.withFiber((fiber) =>
              Effect.sync(() => {
                if (seed % 7 === 0) fiber.interruptUnsafe()
              })
            ),
            late
          )
        }
        default:
          return Effect.scoped(
            Effect.andThen(
              Effect.forkScoped(inner(), { startImmediately: true }),
              Effect.orElseSucceed(inner(), () => 0)
            )
          )
      }
    }

    const fork = (program: Program) =>
      Effect.gen(function* () {
        const own = fibers.length
        const fiber = yield* Effect.forkScoped(Effect.provideService(program, RedisService, bench.service), {
          startImmediately: true
        })
        fiber.addObserver((exit) => journal.push(`caller ${own} ${describeExit(exit)}`))
        fibers.push(fiber)
      })

    for (let step = 0; step < 40; step++) {
      const dice = random.below(100)
      if (dice < 40) yield* fork(programOf(random.below(4)))
      else if (dice < 70) bench.answer(1 + random.below(4))
      else if (dice < 82) fibers[random.below(fibers.length)]?.interruptUnsafe()
      else if (dice < 92) yield* TestClock.adjust(random.pick(1, 15, 80))
      else {
        bench.drop()
        yield* settleAll
        yield* bench.start
      }
      if (random.chance(0.7)) yield* settleAll
      bench.note(`step ${step}`)
    }
    yield* TestClock.adjust(1000)
    yield* settleAll
    bench.note("in the end")
    for (const [own, fiber] of fibers.entries()) if (fiber.pollUnsafe() === undefined) journal.push(`${own} hangs`)
    for (const fiber of fibers) fiber.interruptUnsafe()
    yield* settleAll
    return journal
  }).pipe(Effect.scoped)

/** With parked fibers, and without. */
const bothWays = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const wasParking = allowParking()
    assert.isTrue(wasParking, "this version of Effect can park fibers")
    const parked = yield* effect
    forbidParking()
    const called = yield* Effect.ensuring(effect, Effect.sync(allowParking))
    return { parked, called }
  })

const batch = 50

describe("a parked call and Effect.callback", () => {
  for (let first = firstSeed; first < firstSeed + rounds; first += batch) {
    it.effect(`are the same to any program (seeds from ${first})`, () =>
      Effect.gen(function* () {
        for (let seed = first; seed < Math.min(first + batch, firstSeed + rounds); seed++) {
          const { called, parked } = yield* bothWays(run(seed))
          assert.deepStrictEqual(parked, called, `seed ${seed}`)
          assert.isAbove(parked.length, 40)
        }
      })
    )
  }

  it.effect("are values: one effect, run a hundred times at once and again", () =>
    Effect.gen(function* () {
      const { called, parked } = yield* bothWays(
        Effect.gen(function* () {
          const bench = yield* makeBench
          const get = Effect.exit(Redis.command(["GET", "k"]))
          const all = yield* Effect.forkChild(
            Effect.provideService(
              Effect.all(
                Array.from({ length: 100 }, () => Effect.repeat(get, { times: 2 })),
                { concurrency: 100 }
              ),
              RedisService,
              bench.service
            ),
            { startImmediately: true }
          )
          while (all.pollUnsafe() === undefined) {
            bench.answer(3)
            yield* settleAll
          }
          return (yield* Fiber.join(all)).map(describeExit)
        }).pipe(Effect.scoped)
      )
      assert.deepStrictEqual(parked, called)
      assert.isAbove(parked.filter((exit) => exit.startsWith("succeeded")).length, 0)
    })
  )

  it.effect("go on in the async context of the caller", () =>
    Effect.gen(function* () {
      const storage = new AsyncLocalStorage<string>()
      const { called, parked } = yield* bothWays(
        Effect.gen(function* () {
          const bench = yield* makeBench
          const seen: Array<string | undefined> = []
          const program = Redis.command(["GET", "k"]).pipe(
            Effect.andThen(Effect.sync(() => seen.push(storage.getStore()))),
            Effect.provideService(RedisService, bench.service)
          )
          const fiber = storage.run("the caller's", () => Effect.runFork(program))
          storage.run("the reader's", () => bench.answer(1))
          yield* Fiber.join(fiber)
          return seen
        }).pipe(Effect.scoped)
      )
      assert.deepStrictEqual([parked, called], [["the caller's"], ["the caller's"]])
    })
  )
})

describe("a command as an effect", () => {
  it("shows no argument, however it is printed", () => {
    const effect = Redis.command(["SET", "key", "hunter2"])
    assert.notInclude(`${inspect(effect, { depth: 9 })} ${JSON.stringify(effect)} ${String(effect)}`, "hunter2")
  })
})

describe("fibers that cannot be parked", () => {
  class Thing extends Parked<number, never> {
    override abandon(): void {
      this.settled = true
    }
    settle(value: number): void {
      this.keepValue(value)
      this.finish()
    }
  }

  class Wait extends Waiting<number, never> {
    readonly thing = new Thing(0, undefined)
    protected override submit(): Thing {
      return this.thing
    }
  }

  it("wait all the same: those of another class", () => {
    const wait = new Wait()
    const fiber = Effect.runFork(
      Effect.withFiber<number>((fiber) => {
        // As the fibers of a second copy of Effect are.
        Object.setPrototypeOf(fiber, Object.create(Object.getPrototypeOf(fiber)))
        return wait
      })
    )
    assert.isUndefined(fiber.pollUnsafe())
    wait.thing.settle(7)
    assert.deepStrictEqual(fiber.pollUnsafe(), Exit.succeed(7))
  })
})

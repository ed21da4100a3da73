/**
 * Any interleaving of calls, interruptions, deadlines, drops at any byte, restarts and the close: each call settles once,
 * with its own reply or an honest error; a write runs at most once, and what is said to be unsent was never seen.
 *
 * A failure names its seed and the shortest list of steps that still fails. `RELIVE_CALLS_SEED` starts there,
 * `RELIVE_CALLS_ROUNDS` says how many seeds are tried.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis, type RedisError, Resp } from "@relive/core"
import { FakeServer } from "@relive/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { Random } from "../behaviours/random.ts"
import { isError, Judge, type Sighting } from "./judge.ts"

const firstSeed = Number(process.env.RELIVE_CALLS_SEED ?? "1")
const rounds = Number(process.env.RELIVE_CALLS_ROUNDS ?? "100")

// ---------------------------------------------------------------------------------------------------------------- steps

const forms = ["read", "write", "bytes", "reads", "mixed", "transaction", "noreply"] as const

type Form = (typeof forms)[number]

type Step =
  | { readonly do: "call"; readonly form: Form; readonly timeout: number }
  | { readonly do: "interrupt"; readonly which: number }
  | { readonly do: "answer"; readonly count: number }
  | { readonly do: "part"; readonly fraction: number }
  | { readonly do: "drop"; readonly how: "FIN" | "RST"; readonly fraction: number }
  | { readonly do: "garbage" | "surplus" | "stop" | "start" | "io" }
  | { readonly do: "time"; readonly millis: number }

const stepOf = (random: Random): Step => {
  const dice = random.below(100)
  if (dice < 40) return { do: "call", form: random.pick(...forms), timeout: random.pick(3, 40, 400) }
  if (dice < 50) return { do: "interrupt", which: random.next() }
  if (dice < 63) return { do: "answer", count: random.below(6) }
  if (dice < 70) return { do: "part", fraction: random.next() }
  if (dice < 76) return { do: "drop", how: random.pick("FIN", "RST"), fraction: random.next() }
  if (dice < 78) return { do: random.pick("garbage", "surplus") }
  if (dice < 80) return { do: "stop" }
  if (dice < 83) return { do: "start" }
  if (dice < 92) return { do: "io" }
  return { do: "time", millis: random.pick(1, 5, 50) }
}

/** All that a round is made of. It can be made shorter. */
interface Plan {
  readonly seed: number
  readonly steps: ReadonlyArray<Step>
}

const planOf = (seed: number): Plan => {
  const random = new Random(seed)
  return { seed, steps: Array.from({ length: 10 + random.below(60) }, () => stepOf(random)) }
}

// ---------------------------------------------------------------------------------------------------------------- calls

/** A call that was made: what was sent for it, what it may answer, and its fiber. */
interface Made {
  readonly form: Form
  readonly commands: ReadonlyArray<readonly [name: "GET" | "SET", id: string]>
  readonly fiber: Fiber.Fiber<unknown, RedisError.RedisError>
}

const isRead = ({ form }: Made): boolean => form === "read" || form === "bytes" || form === "reads"

const commandsOf = (form: Form, number: number): Made["commands"] => {
  const id = (part: number) => `${number}.${part}`
  switch (form) {
    case "read":
    case "bytes":
      return [["GET", id(0)]]
    case "write":
      return [["SET", id(0)]]
    case "reads":
      return [
        ["GET", id(0)],
        ["GET", id(1)]
      ]
    case "mixed":
    case "transaction":
      return [
        ["GET", id(0)],
        ["SET", id(1)],
        ["GET", id(2)]
      ]
    case "noreply":
      return [
        ["SET", id(0)],
        ["SET", id(1)]
      ]
  }
}

const encode = (commands: Made["commands"]): ReadonlyArray<Resp.Command> =>
  commands.map(([name, id]) => (name === "GET" ? ["GET", id] : ["SET", id, "value"]))

const callOf = (form: Form, commands: ReadonlyArray<Resp.Command>, timeout: number) => {
  switch (form) {
    case "read":
    case "write":
      return Redis.command(commands[0]!, { timeout })
    case "bytes":
      return Redis.command(commands[0]!, { timeout, decode: "bytes" })
    case "reads":
    case "mixed":
      return Redis.pipeline(commands, { timeout })
    case "transaction":
      return Redis.transaction(commands, { timeout })
    case "noreply":
      return Redis.noreply(commands, { timeout })
  }
}

// ------------------------------------------------------------------------------------------------------------- verdicts

const textOf = (reply: unknown): string =>
  reply instanceof Uint8Array
    ? Buffer.from(reply).toString()
    : reply instanceof Resp.ReplyError
      ? reply.message
      : inspect(reply).replaceAll("'", "")

const expected = ([name, id]: Made["commands"][number]): string =>
  isError(id) ? `ERR e:${id}` : `${name === "GET" ? "r" : "w"}:${id}`

/** What is wrong with how a call has ended. */
const wrongExit = (made: Made, sightings: number): string | undefined => {
  const exit = made.fiber.pollUnsafe()
  if (exit === undefined) return "has not settled"
  if (Exit.isSuccess(exit)) {
    if (sightings < made.commands.length) return "succeeded, but was not seen"
    if (made.form === "noreply") return exit.value === undefined ? undefined : "answered something"
    const replies = Array.isArray(exit.value) ? exit.value : [exit.value]
    const wanted = made.commands.map(expected)
    return replies.map(textOf).join() === wanted.join() ? undefined : `answered ${inspect(replies)}`
  }
  const reason = exit.cause.reasons[0]
  if (Cause.hasInterruptsOnly(exit.cause)) return undefined
  if (reason?._tag !== "Fail") return `died: ${inspect(exit.cause)}`
  const why = reason.error.reason
  switch (why._tag) {
    case "ReplyError": {
      const own = made.commands.length === 1 && made.commands.map(expected).includes(why.message)
      return own ? undefined : `failed with ${why.message}`
    }
    case "ConnectionError":
    case "TimeoutError":
      return why.delivery === "unsent" && sightings > 0 ? "was said to be unsent, but was seen" : undefined
    default:
      return `failed with ${why._tag}`
  }
}

/** What is wrong with what the server saw of a call. */
const wrongSightings = (made: Made, seen: ReadonlyArray<Sighting>): string | undefined => {
  const times = made.commands.map(([, id]) => seen.filter((sighting) => sighting.id === id).length)
  const most = isRead(made) ? 2 : 1
  if (times.some((count) => count > most)) return `was seen ${times.join(", ")} times`
  const first = seen.findIndex(({ id }) => id === made.commands[0]?.[1])
  if (first === -1) return times.some((count) => count > 0) ? "was seen without its beginning" : undefined
  const block = seen.slice(first, first + made.commands.length)
  for (const [i, sighting] of block.entries()) {
    if (sighting.connection !== block[0]?.connection) break
    if (sighting.id !== made.commands[i]?.[1]) return "was not one block"
  }
  return undefined
}

/** Calls are first seen in the order in which they were made. */
const wrongOrder = (seen: ReadonlyArray<Sighting>): string | undefined => {
  const known = new Set<number>()
  let newest = 0
  for (const { id } of seen) {
    const number = Number(id.split(".")[0])
    if (known.has(number)) continue
    known.add(number)
    if (number < newest) return `call ${number} was first seen after call ${newest}`
    newest = number
  }
  return undefined
}

const verdict = (made: ReadonlyArray<Made>, judge: Judge): string | undefined => {
  const seen = judge.seen.filter(({ id }) => id !== "")
  for (const [number, call] of made.entries()) {
    const own = seen.filter(({ id }) => id.startsWith(`${number + 1}.`))
    const problem = wrongExit(call, own.length) ?? wrongSightings(call, seen)
    if (problem !== undefined) return `call ${number + 1} (${call.form}) ${problem}`
  }
  return wrongOrder(seen)
}

// ---------------------------------------------------------------------------------------------------------------- rounds

const closeTimeout = 1000

const options = {
  backoffFirst: 0,
  backoffInitial: 2,
  backoffCap: 8,
  stableAfter: 20,
  connectTimeout: 30,
  healthCheckInterval: "infinite",
  closeTimeout
} as const

/** Lets sockets and fibers do what they can do now. */
const settleIo = TestClock.withLive(Effect.sleep(1))

/** Runs a plan; answers what was wrong. */
const run = ({ seed, steps }: Plan): Effect.Effect<string | undefined, RedisError.RedisError> =>
  Effect.gen(function* () {
    const random = new Random(seed * 7919)
    const greetings = Array.from({ length: 200 }, () =>
      random.chance(0.8) ? "good" : random.pick("mute" as const, "half" as const)
    )
    const judge = new Judge((index) => greetings[index] ?? "good")
    const fake = yield* FakeServer.make(judge.script)
    const scope = yield* Scope.make()
    const room = { inFlightCommands: 1 + random.below(12), mailboxCommands: 4 + random.below(40) }
    const context = yield* Scope.provide(Layer.build(Redis.layer({ port: fake.port, ...options, ...room })), scope)
    const made: Array<Made> = []

    /** Only while nothing waits for a reply: otherwise no client can tell it from the one that is due. */
    const surplus = Effect.gen(function* () {
      const status = Effect.provideContext(Redis.status, context)
      const { inFlight, queued, sessions, state } = yield* status
      if (state !== "ready" || inFlight > 0 || queued > 0) return
      yield* judge.last?.connection.send("+r:0.0\r\n") ?? Effect.void
      yield* Effect.repeat(Effect.andThen(settleIo, status), {
        until: (now) => now.state !== "ready" || now.sessions !== sessions
      })
    })

    const take = Effect.fnUntraced(function* (step: Step) {
      switch (step.do) {
        case "call": {
          const commands = commandsOf(step.form, made.length + 1)
          const call: Effect.Effect<unknown, RedisError.RedisError> = Effect.provideContext(
            callOf(step.form, encode(commands), step.timeout),
            context
          )
          made.push({
            form: step.form,
            commands,
            fiber: yield* Effect.forkChild(call, { startImmediately: true })
          })
          return
        }
        case "interrupt": {
          const call = made[Math.floor(step.which * made.length)]
          if (call !== undefined) yield* Fiber.interrupt(call.fiber)
          return
        }
        case "answer":
          return yield* judge.answerSome(step.count)
        case "part":
          return yield* judge.answerPart(step.fraction)
        case "drop": {
          yield* judge.answerPart(step.fraction)
          const connection = judge.last?.connection
          if (connection !== undefined) yield* step.how === "FIN" ? connection.close : connection.reset
          return
        }
        case "garbage":
          return yield* judge.garbage
        case "surplus":
          return yield* surplus
        case "stop":
          return yield* fake.stop
        case "start":
          return yield* fake.start
        case "io":
          return yield* settleIo
        case "time":
          return yield* TestClock.adjust(step.millis)
      }
    })

    for (const step of steps) yield* take(step)
    if (random.chance(0.6)) {
      // All is well from now on: what is left has its chance.
      yield* fake.start
      yield* judge.answerAll
      for (let i = 0; i < 12; i++) yield* Effect.andThen(settleIo, TestClock.adjust(i < 6 ? 3 : 100))
    }
    const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
    yield* TestClock.adjust(closeTimeout + 1000)
    yield* Fiber.join(closing)
    yield* settleIo
    const problem = verdict(made, judge)
    for (const { fiber } of made) yield* Fiber.interrupt(fiber)
    return problem
  }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))

/** Leaves out steps as long as it still fails. */
const shrink = Effect.fnUntraced(function* (plan: Plan, problem: string) {
  let { steps } = plan
  let last = problem
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < steps.length;) {
      const shorter = steps.toSpliced(at, size)
      const found = yield* run({ ...plan, steps: shorter })
      if (found === undefined) at += size
      else {
        steps = shorter
        last = found
      }
    }
  }
  return { steps, problem: last }
})

/** Seeds in one test. */
const batch = 20

describe("Any interleaving of calls and faults", () => {
  for (let first = firstSeed; first < firstSeed + rounds; first += batch) {
    it.effect(
      `settles each call once, with its own reply or an honest error; writes run at most once (seeds from ${first})`,
      () =>
        Effect.gen(function* () {
          for (let seed = first; seed < Math.min(first + batch, firstSeed + rounds); seed++) {
            const plan = planOf(seed)
            const problem = yield* run(plan)
            if (problem === undefined) continue
            const least = yield* shrink(plan, problem)
            assert.fail(`seed ${seed}: ${problem}\nat least: ${least.problem}\n${inspect(least.steps, { depth: 5 })}`)
          }
        })
    )
  }
})

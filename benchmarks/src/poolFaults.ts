/**
 * What pools of three connections do under the same five faults: ours, node-redis's `createClientPool`, Effect's
 * `Redis.reserve` on node-redis, and, where it is installed (see `redix.ts`), Redix's pool of names. All with their defaults;
 * run it with `npm run -s bench:pool-faults`. The table in the README of `@relive/pool` is made from it.
 *
 * Real servers behind a proxy that breaks things. A client that has not settled a call after `PATIENCE` is noted as pending.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Redis } from "@relive/core"
import { RedisPool } from "@relive/pool"
import { Fault, FaultProxy, RedisServer } from "@relive/testing"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as EffectRedis from "effect/persistence/Redis"
import * as Scope from "effect/Scope"
import { setTimeout as sleep } from "node:timers/promises"
import { createClientPool } from "redis"
import { openRedix, redixFolder } from "./redix.ts"

const SIZE = 3
const PATIENCE = 7000

interface Subject {
  readonly send: (args: ReadonlyArray<string>) => Promise<unknown>
  /** A blocking pop whose caller gives up after 200 ms, in the way that is meant for it. */
  readonly pop: (key: string) => Promise<unknown>
  readonly close: () => Promise<unknown>
}

interface Target {
  readonly host: string
  readonly port: number
}

type Open = (target: Target) => Promise<Subject>

/** Builds the layer and runs effects in it. */
const inLayer = async <R>(layer: Layer.Layer<R, unknown>) => {
  const scope = Scope.makeUnsafe()
  const silent = Layer.provideMerge(layer, Logger.layer([]))
  const context = await Effect.runPromise(Layer.buildWithScope(silent, scope))
  const run = <A>(effect: Effect.Effect<A, unknown, R>): Promise<A> =>
    Effect.runPromiseExit(Effect.provideContext(effect, context)).then((exit) => {
      if (Exit.isSuccess(exit)) return exit.value
      throw Cause.squash(exit.cause)
    })
  return { context, run, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

const relive: Open = async (target) => {
  const { close, run } = await inLayer(RedisPool.layer({ ...target, size: SIZE, start: "await" }))
  return {
    send: (args) => run(Redis.command(args)),
    pop: (key) => run(Redis.command(["BLPOP", key, "0"], { timeout: 200 })),
    close
  }
}

const nodeRedis: Open = async ({ host, port }) => {
  const pool = createClientPool({ socket: { host, port } }, { minimum: SIZE, maximum: SIZE })
  pool.on("error", () => {})
  await pool.connect()
  return {
    send: (args) => pool.sendCommand([...args]),
    pop: (key) =>
      Promise.race([
        pool.sendCommand(["BLPOP", key, "0"]),
        sleep(200).then(() => Promise.reject(new Error("the caller gave up")))
      ]),
    close: async () => pool.destroy()
  }
}

const effectReserve: Open = async ({ host, port }) => {
  const { close, context, run } = await inLayer(NodeRedis.layer({ socket: { host, port }, maxConnections: SIZE }))
  const redis = Context.get(context, EffectRedis.Redis)
  const send = (args: ReadonlyArray<string>) =>
    Effect.scoped(Effect.flatMap(redis.reserve, (connection) => connection.send(args[0] ?? "", ...args.slice(1))))
  return {
    send: (args) => run(send(args)),
    pop: (key) => run(Effect.timeout(send(["BLPOP", key, "0"]), 200)),
    close
  }
}

const redix =
  (folder: string): Open =>
  async ({ host, port }) => {
    const { call, close } = await openRedix(folder, host, port)
    return { send: (args) => call(args, undefined), pop: (key) => call(["BLPOP", key, "0"], 200), close }
  }

const subjects: Readonly<Record<string, Open>> = {
  "@relive/pool": relive,
  "node-redis createClientPool": nodeRedis,
  "Effect Redis.reserve": effectReserve,
  ...(redixFolder === undefined ? {} : { "Redix, pool of names": redix(redixFolder) })
}

// ------------------------------------------------------------------------------------------------------------- noting

const errorText = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error && error.message === "" ? `: ${error.cause.message}` : ""
  const delivery = "reason" in error ? deliveryOf(error.reason) : ""
  return `${error.constructor.name}${delivery} ${error.message.split("\n")[0]?.slice(0, 110) ?? ""}${cause}`
}

const deliveryOf = (reason: unknown): string =>
  typeof reason === "object" && reason !== null && "delivery" in reason ? ` (${String(reason.delivery)})` : ""

const pending = Symbol("pending")

/** How a call ended, and after how many milliseconds. */
const settled = async (call: Promise<unknown>, patience = PATIENCE): Promise<string> => {
  const started = performance.now()
  const outcome = await Promise.race([
    call.then((reply) => `-> ${JSON.stringify(reply)}`).catch((error: unknown) => `fails: ${errorText(error)}`),
    sleep(patience, pending)
  ])
  if (typeof outcome !== "string") return `pending after ${patience} ms`
  return `${outcome} [${Math.round((performance.now() - started) / 10) * 10} ms]`
}

const counted = (outcomes: ReadonlyArray<string>): string => {
  const counts = new Map<string, number>()
  for (const outcome of outcomes) {
    const kind = outcome.replace(/ \[\d+ ms\]$/, "").replace(/^-> \d+$/, "answered")
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return [...counts].map(([kind, count]) => `${count} x ${kind}`).join("; ")
}

// ------------------------------------------------------------------------------------------------------------- faults

interface World {
  readonly subject: Subject
  readonly server: (args: ReadonlyArray<string>) => Promise<unknown>
  readonly inject: (fault: Fault.Fault) => Promise<{ readonly heal: () => Promise<void> }>
}

type Scenario = (world: World) => Promise<ReadonlyArray<string>>

/** Three connections that have been used. */
const warm = ({ subject }: World) => Promise.all(Array.from({ length: SIZE }, () => subject.send(["PING"])))

const scenarios: Readonly<Record<string, Scenario>> = {
  "1. the connection is cut after the server has run the write, before the reply": async (world) => {
    await warm(world)
    await world.inject(Fault.cut({ direction: "toClient", how: "rst", afterBytes: 1, times: 1 }))
    const write = await settled(world.subject.send(["INCR", "n"]))
    await sleep(300)
    return [
      `INCR ${write}; n = ${String(await world.server(["GET", "n"]))}`,
      `then PING ${await settled(world.subject.send(["PING"]))}`
    ]
  },
  "2. the server is away for half a second; 30 calls meanwhile": async (world) => {
    await warm(world)
    const away = await world.inject(Fault.refuse())
    await world.server(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
    await sleep(50)
    const calls = Array.from({ length: 30 }, () => settled(world.subject.send(["INCR", "n"])))
    await sleep(450)
    await away.heal()
    const outcomes = await Promise.all(calls)
    return [
      counted(outcomes),
      `n = ${String(await world.server(["GET", "n"]))}; then PING ${await settled(world.subject.send(["PING"]))}`
    ]
  },
  "3. the server says nothing more (hung, or half-open), and is back after 12 s on new connections": async (world) => {
    await warm(world)
    const stall = await world.inject(Fault.blackHole())
    const calls = Array.from({ length: 6 }, () => settled(world.subject.send(["GET", "k"]), 11_000))
    const outcomes = await Promise.all(calls)
    await sleep(1000)
    await stall.heal()
    return [`GET: ${counted(outcomes)}`, `then PING ${await settled(world.subject.send(["PING"]))}`]
  },
  "4. as many callers block (BLPOP 0) as there are connections": async (world) => {
    await warm(world)
    const blocked = Array.from({ length: SIZE }, () => settled(world.subject.send(["BLPOP", "never", "0"]), 500))
    await sleep(100)
    const ping = await settled(world.subject.send(["PING"]))
    await Promise.all(blocked)
    return [`PING meanwhile ${ping}`]
  },
  "5. a caller gives its BLPOP up after 200 ms; then an item is pushed": async (world) => {
    await warm(world)
    const pop = await settled(world.subject.pop("q"))
    await sleep(50)
    await world.server(["RPUSH", "q", "item"])
    await sleep(100)
    return [`BLPOP ${pop}; the item is ${(await world.server(["LLEN", "q"])) === 1 ? "kept" : "lost"}`]
  }
}

const one = (open: Open, scenario: Scenario): Promise<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const server = yield* RedisServer.make()
    const proxy = yield* FaultProxy.make(server)
    return yield* Effect.promise(async () => {
      const subject = await open({ host: proxy.host, port: proxy.port })
      const lines = await scenario({
        subject,
        server: (args) => Effect.runPromise(server.command(args)),
        inject: async (fault) => {
          const injection = await Effect.runPromise(proxy.inject(fault))
          return { heal: () => Effect.runPromise(injection.heal) }
        }
      })
      const closed = await settled(subject.close(), 6000)
      return closed.startsWith("pending") ? [...lines, `close: ${closed}`] : lines
    })
  }).pipe(Effect.scoped, Effect.runPromise)

process.on("unhandledRejection", (error) => console.log(`    (unhandled rejection: ${errorText(error)})`))

const only = process.argv[2]
for (const [title, scenario] of Object.entries(scenarios)) {
  if (only !== undefined && !title.startsWith(only)) continue
  console.log(title)
  for (const [name, open] of Object.entries(subjects)) {
    console.log(`  ${name}`)
    for (const line of await one(open, scenario)) console.log(`    ${line}`)
  }
}
process.exit(0)

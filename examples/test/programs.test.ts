/**
 * The example programs against a real server: as imported, as started from a shell, and what each of them promises
 * when many want the same thing at once, or when something breaks in the middle.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Redis, type RedisService } from "@relive/core"
import { Supervisor } from "@relive/otp"
import { Fault, FaultProxy, RedisServer } from "@relive/testing"
import { Clock, Deferred, Effect, Fiber, Latch, Layer, Result, Stream, type Scope } from "effect"
import { execFile, spawn } from "node:child_process"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { inspect, promisify } from "node:util"
import * as BulkLoad from "../bulk-load.ts"
import * as CacheAside from "../cache-aside.ts"
import * as CacheInvalidation from "../cache-invalidation.ts"
import * as Chat from "../chat.ts"
import * as ConsumerGroup from "../consumer-group.ts"
import * as Counter from "../counter.ts"
import * as Keyspace from "../keyspace.ts"
import * as Leaderboard from "../leaderboard.ts"
import * as Lock from "../lock.ts"
import * as Queue from "../queue.ts"
import * as RateLimiter from "../rate-limiter.ts"
import * as SessionStore from "../session-store.ts"
import * as Transfer from "../transfer.ts"

const Connected = Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer({ url })))

/** Runs on a connection of its own, as another process would. */
const elsewhere = Effect.provide(Layer.fresh(Connected))

/** A proxy in front of the server, and a way to run through it. */
const makeProxied = Effect.gen(function* () {
  const proxy = yield* FaultProxy.make(yield* RedisServer.RedisServer)
  const Proxied = Redis.layer({ host: proxy.host, port: proxy.port })
  return { proxy, through: Effect.provide(Proxied) }
})

const ask = (...command: ReadonlyArray<string | number>) =>
  Effect.flatMap(RedisServer.RedisServer, (server) => server.command(command))

const times = <A>(count: number, make: (index: number) => A): Array<A> =>
  Array.from({ length: count }, (_, index) => make(index))

const atOnce = { concurrency: "unbounded" } as const

/** How often the server ran a command since the last `CONFIG RESETSTAT`. */
const callsOf = (command: string) =>
  Effect.map(ask("INFO", "commandstats"), (info) =>
    Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(String(info))?.[1] ?? 0)
  )

/** Waits until so many connections wait in a blocking command. */
const awaitBlocked = (count: number) =>
  Effect.repeat(ask("INFO", "clients"), { until: (info) => String(info).includes(`blocked_clients:${count}\r\n`) })

interface Example {
  readonly program: Effect.Effect<unknown, unknown, RedisService>
  readonly result: unknown
}

const examples: Readonly<Record<string, Example>> = {
  "cache-aside": {
    program: CacheAside.program,
    result: { cached: "user 7, load 1", fresh: "user 7, load 2" }
  },
  chat: { program: Chat.program, result: ["(you are in the room)", "ann: is anybody here?", "bob: I am"] },
  "cache-invalidation": {
    program: CacheInvalidation.program,
    result: { cached: "red", fresh: "blue", loads: 2 }
  },
  keyspace: { program: Keyspace.program, result: { ended: "ann" } },
  counter: { program: Counter.program, result: [1000, 1, 0] },
  queue: { program: Queue.program, result: times(10, (index) => `job ${index}`) },
  lock: { program: Lock.program, result: 10 },
  transfer: { program: Transfer.program, result: { refused: "InsufficientFunds", balances: [70_00, 80_00] } },
  "rate-limiter": { program: RateLimiter.program, result: { allowed: 5, of: 20 } },
  leaderboard: {
    program: Leaderboard.program,
    result: {
      top: [
        ["cat", 300],
        ["ann", 120]
      ],
      bob: { place: 3, score: 90 },
      around: [
        ["ann", 120],
        ["bob", 90],
        ["dan", 45.5]
      ]
    }
  },
  "session-store": {
    program: SessionStore.program,
    result: { found: { user: "ann", secret: new Uint8Array([0, 255, 128, 10]), roles: ["admin"] }, destroyed: null }
  },
  "bulk-load": { program: BulkLoad.program, result: { sent: 100_000, found: 100_000 } },
  "consumer-group": {
    program: ConsumerGroup.program,
    result: ["order 1 by ann", ...times(4, (index) => `order ${index + 2} by bob`)]
  }
}

/** Runs an example as a person does. */
const start = (name: string, url: string) =>
  Effect.tryPromise((signal) =>
    promisify(execFile)(process.execPath, [Path.join(import.meta.dirname, "..", `${name}.ts`)], {
      env: { ...process.env, REDIS_URL: url },
      signal
    })
  )

layer(Layer.provideMerge(Connected, RedisServer.layer({ config: { "notify-keyspace-events": "Ex" } })), {
  excludeTestServices: true
})("the examples", (it) => {
  const test = (
    title: string,
    body: Effect.Effect<void, unknown, RedisService | RedisServer.RedisServer | Scope.Scope>
  ) => it.effect(title, () => Effect.andThen(ask("FLUSHALL"), body))

  describe("each program", () => {
    for (const [name, { program, result }] of Object.entries(examples)) {
      test(
        `${name} does what it says, also the second time`,
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* program, result)
          assert.deepStrictEqual(yield* program, result)
        })
      )

      test(
        `node examples/${name}.ts runs, prints its result, and ends`,
        Effect.gen(function* () {
          const server = yield* RedisServer.RedisServer
          const { stderr, stdout } = yield* start(name, server.url)
          assert.strictEqual(stderr, "")
          assert.ok(stdout.endsWith(`${inspect(result)}\n`), stdout)
        })
      )
    }
  })

  describe("chat", () => {
    test(
      "is heard in another process, until that one ends",
      Effect.gen(function* () {
        const server = yield* RedisServer.RedisServer
        const path = Path.join(import.meta.dirname, "..", "chat.ts")
        const member = yield* Effect.acquireRelease(
          Effect.sync(() =>
            spawn(process.execPath, [path, "bob"], {
              env: { ...process.env, REDIS_URL: server.url },
              stdio: ["pipe", "pipe", "inherit"]
            })
          ),
          (child) => Effect.sync(() => child.kill())
        )
        const lines = Readline.createInterface({ input: member.stdout })[Symbol.asyncIterator]()
        const next = Effect.promise(() => lines.next())
        assert.strictEqual((yield* next).value, "(you are in the room)")
        const heard = yield* Effect.forkChild(Stream.runCollect(Stream.take(Chat.hear("hall"), 2)), {
          startImmediately: true
        })
        yield* Effect.repeat(ask("PUBSUB", "NUMSUB", "example:chat:hall"), {
          until: (reply) => String(reply).endsWith("2")
        })
        assert.strictEqual(yield* Chat.say("hall", "ann", "hello"), 2)
        assert.strictEqual((yield* next).value, "ann: hello")
        assert.deepStrictEqual(yield* Fiber.join(heard), ["(you are in the room)", "ann: hello"])
        yield* Effect.repeat(ask("PUBSUB", "NUMSUB", "example:chat:hall"), {
          until: (reply) => String(reply).endsWith("1")
        })
        member.stdin.end("bye\n")
        yield* Effect.repeat(ask("PUBSUB", "CHANNELS"), {
          until: (reply) => Array.isArray(reply) && reply.length === 0
        })
      })
    )
  })

  describe("cache-invalidation", () => {
    test(
      "forgets all at a gap, and reads the source until it is told again",
      Effect.gen(function* () {
        let loads = 0
        const cache = yield* CacheInvalidation.makeCache(() => Effect.sync(() => ++loads))
        yield* cache.awaitWhole
        yield* cache.get("a")
        assert.strictEqual(yield* cache.get("a"), 1)
        yield* ask("CLIENT", "KILL", "TYPE", "pubsub")
        yield* Effect.repeat(cache.get("a"), { until: (load) => load > 1 })
        // Kept again as soon as the subscription is whole.
        yield* Effect.repeat(
          Effect.suspend(() => {
            const before = loads
            return Effect.map(cache.get("a"), () => loads === before)
          }),
          { until: (kept) => kept }
        )
      })
    )
  })

  describe("keyspace", () => {
    test(
      "sweeps at the start, and when it is back after a gap",
      Effect.gen(function* () {
        let sweeps = 0
        const swept = yield* Latch.make()
        const sweep = Effect.andThen(
          Effect.sync(() => sweeps++),
          swept.open
        )
        yield* Effect.forkScoped(
          Keyspace.watchSessions(() => Effect.void, sweep),
          { startImmediately: true }
        )
        yield* swept.await
        yield* swept.close
        yield* ask("CLIENT", "KILL", "TYPE", "pubsub")
        yield* swept.await
        assert.strictEqual(sweeps, 2)
      })
    )
  })

  describe("cache-aside", () => {
    /** A source that counts its loads and holds them until it is opened. */
    const makeSource = Effect.map(Latch.make(), (gate) => {
      const source = {
        loads: 0,
        gate,
        load: (id: number) =>
          Effect.suspend(() => {
            source.loads++
            return gate.whenOpen(Effect.succeed({ id, name: "ann" }))
          })
      }
      return source
    })

    const untilLoads = (source: { readonly loads: number }, count: number) =>
      Effect.repeat(Effect.yieldNow, { until: () => source.loads >= count })

    test(
      "a stampede of 200 callers loads once in each process",
      Effect.gen(function* () {
        const source = yield* makeSource
        const stampede = Effect.gen(function* () {
          const users = yield* CacheAside.makeUsers(source.load)
          return yield* Effect.all(Effect.replicate(users.get(1), 200), atOnce)
        })
        const both = yield* Effect.forkChild(Effect.all([stampede, elsewhere(stampede)], atOnce))
        // Both have missed and are loading; nobody else loads, or the count would say so.
        yield* untilLoads(source, 2)
        yield* source.gate.open
        const found = (yield* Fiber.join(both)).flat()
        assert.strictEqual(found.length, 400)
        assert.ok(found.every(({ name }) => name === "ann"))
        assert.strictEqual(source.loads, 2)
        // And from now on none does.
        yield* elsewhere(stampede)
        assert.strictEqual(source.loads, 2)
      })
    )

    test(
      "a caller that is interrupted does not take the load away from the others",
      Effect.gen(function* () {
        const source = yield* makeSource
        const users = yield* CacheAside.makeUsers(source.load)
        const [first, second] = [yield* Effect.forkChild(users.get(1)), yield* Effect.forkChild(users.get(1))]
        yield* untilLoads(source, 1)
        yield* Fiber.interrupt(first)
        yield* source.gate.open
        assert.strictEqual((yield* Fiber.join(second)).name, "ann")
        assert.strictEqual(source.loads, 1)
      })
    )

    test(
      "an entry of another shape is a miss, and is replaced",
      Effect.gen(function* () {
        const source = yield* makeSource
        yield* source.gate.open
        const users = yield* CacheAside.makeUsers(source.load)
        yield* ask("SET", "example:user:1", '{"id":"one"}')
        assert.strictEqual((yield* users.get(1)).name, "ann")
        assert.strictEqual(yield* ask("GET", "example:user:1"), '{"id":1,"name":"ann"}')
      })
    )

    test(
      "without its cache it loads",
      Effect.gen(function* () {
        const server = yield* RedisServer.make()
        const source = yield* makeSource
        yield* source.gate.open
        yield* Effect.gen(function* () {
          const users = yield* CacheAside.makeUsers(source.load)
          yield* users.get(1)
          yield* server.kill
          assert.strictEqual((yield* users.get(1)).name, "ann")
          assert.strictEqual(source.loads, 2)
        }).pipe(Effect.provide(Redis.layer(server.url)))
      })
    )
  })

  describe("counter", () => {
    test(
      "counts and takes that cross lose nothing",
      Effect.gen(function* () {
        const visits = Effect.all(Effect.replicate(Counter.visit("home"), 500), atOnce)
        const takes = Effect.all(Effect.replicate(Counter.take("home"), 20), atOnce)
        const [, , taken] = yield* Effect.all([visits, elsewhere(visits), takes], atOnce)
        const rest = yield* Counter.take("home")
        assert.strictEqual(
          taken.reduce((sum, count) => sum + count, rest),
          1000
        )
      })
    )

    test(
      "when the connection breaks the count is at least the acknowledged, at most those and the unknown",
      Effect.gen(function* () {
        const { proxy, through } = yield* makeProxied
        const outcomes = yield* through(
          Effect.gen(function* () {
            yield* Counter.visit("home")
            const cut = yield* proxy.inject(Fault.cut({ direction: "toClient", afterBytes: 500, how: "rst" }))
            const first = yield* Effect.all(Effect.replicate(Counter.tryVisit("home"), 500), atOnce)
            yield* cut.awaitHit
            return [...first, yield* Counter.tryVisit("home")]
          })
        )
        const counted = 1 + outcomes.filter((outcome) => outcome === "counted").length
        const perhaps = outcomes.filter((outcome) => outcome === "perhaps").length
        const count = Number(yield* ask("GET", "example:visits:home"))
        assert.isAbove(perhaps, 0)
        assert.isAbove(counted, 1)
        assert.strictEqual(outcomes.at(-1), "counted")
        assert.ok(counted <= count && count <= counted + perhaps, `${counted} <= ${count} <= ${counted + perhaps}`)
      })
    )
  })

  describe("queue", () => {
    test(
      "a worker that is interrupted in its work loses nothing, and the next one starts with that job",
      Effect.gen(function* () {
        yield* Queue.push(["a", "b", "c"])
        const started = yield* Deferred.make<string>()
        const first = yield* Effect.forkChild(
          Queue.worker("ann", (job) => Effect.andThen(Deferred.succeed(started, job), Effect.never))
        )
        assert.strictEqual(yield* Deferred.await(started), "a")
        yield* Fiber.interrupt(first)
        assert.deepStrictEqual(yield* ask("LRANGE", "example:jobs:taken:ann", 0, -1), ["a"])

        const jobs: Array<string> = []
        const all = yield* Latch.make()
        const second = Queue.worker("ann", (job) =>
          Effect.suspend(() => (jobs.push(job) === 3 ? all.open : Effect.void))
        )
        yield* Effect.raceFirst(second, all.await)
        assert.deepStrictEqual(jobs, ["a", "b", "c"])
      })
    )

    test(
      "a worker that is interrupted while it waits takes no job with it",
      Effect.gen(function* () {
        const waiting = yield* Effect.forkChild(Queue.worker("ann", () => Effect.void))
        yield* awaitBlocked(1)
        yield* Fiber.interrupt(waiting)
        yield* awaitBlocked(0)
        yield* Queue.push(["a"])
        assert.deepStrictEqual(yield* ask("LRANGE", "example:jobs", 0, -1), ["a"])
      })
    )

    test(
      "a job whose delivery is lost with the connection is done by the restarted worker",
      Effect.gen(function* () {
        const { proxy, through } = yield* makeProxied
        const jobs: Array<string> = []
        const all = yield* Latch.make()
        const spec = Queue.workers(["ann"], (job) =>
          Effect.suspend(() => (jobs.push(job) === 3 ? all.open : Effect.void))
        )
        const tree = yield* Effect.forkChild(through(Effect.raceFirst(Supervisor.run(spec), all.await)))
        yield* awaitBlocked(1)
        const cut = yield* proxy.inject(Fault.cut({ direction: "toClient", afterBytes: 2, how: "rst" }))
        yield* Queue.push(["a", "b", "c"])
        yield* cut.awaitHit
        yield* Fiber.join(tree)
        assert.deepStrictEqual(jobs, ["a", "b", "c"])
      })
    )

    test(
      "a job that always fails ends the tree, and is still there",
      Effect.gen(function* () {
        yield* Queue.push(["poison"])
        let attempts = 0
        const spec = Queue.workers(["ann"], () => Effect.suspend(() => Effect.fail(`attempt ${++attempts}`)))
        const error = yield* Effect.flip(Supervisor.run(spec))
        assert.strictEqual(error._tag, "SupervisorExit")
        assert.strictEqual(attempts, 6)
        const [waiting, taken] = [yield* ask("LLEN", "example:jobs"), yield* ask("LLEN", "example:jobs:taken:ann")]
        assert.strictEqual(Number(waiting) + Number(taken), 1)
      })
    )
  })

  describe("lock", () => {
    const key = "example:lock:door"
    const patient = { ttl: "5 seconds", wait: "20 seconds" } as const
    const hasty = { ttl: "5 seconds", wait: 0 } as const

    test(
      "of contenders in two processes one is inside at a time, and all get in",
      Effect.gen(function* () {
        let inside = 0
        let most = 0
        let entered = 0
        const section = Effect.gen(function* () {
          entered++
          most = Math.max(most, ++inside)
          yield* Redis.command(["PING"])
          inside--
        })
        const contender = Effect.all(Effect.replicate(Lock.withLock("door", patient, section), 5), atOnce)
        yield* Effect.all([contender, elsewhere(contender)], atOnce)
        assert.deepStrictEqual({ most, entered, inside }, { most: 1, entered: 10, inside: 0 })
        assert.strictEqual(yield* ask("EXISTS", key), 0)
      })
    )

    test(
      "who will not wait is told so, and takes nothing away from the owner",
      Effect.gen(function* () {
        const [entered, gate] = [yield* Latch.make(), yield* Latch.make()]
        const owner = yield* Effect.forkChild(Lock.withLock("door", patient, Effect.andThen(entered.open, gate.await)))
        yield* entered.await
        const token = yield* ask("GET", key)
        const error = yield* Effect.flip(elsewhere(Lock.withLock("door", hasty, Effect.void)))
        assert.strictEqual(error._tag, "LockTaken")
        assert.strictEqual(yield* ask("GET", key), token)
        yield* gate.open
        yield* Fiber.join(owner)
        yield* Lock.withLock("door", hasty, Effect.void)
      })
    )

    test(
      "the lock of an owner that died is free after its time to live",
      Effect.gen(function* () {
        yield* ask("SET", key, "the token of a dead process", "PX", 200)
        assert.strictEqual(yield* Lock.withLock("door", patient, Effect.succeed("in")), "in")
      })
    )

    test(
      "a section may take longer than the time to live",
      Effect.gen(function* () {
        yield* ask("CONFIG", "RESETSTAT")
        // Four extensions, a third of the time to live apart: without them the lock would be gone.
        const untilExtended = Effect.repeat(callsOf("pexpire"), { until: (calls) => calls >= 4 })
        const section = Effect.andThen(untilExtended, elsewhere(Effect.flip(Lock.withLock("door", hasty, Effect.void))))
        const error = yield* Lock.withLock("door", { ttl: "600 millis", wait: 0 }, section)
        assert.strictEqual(error._tag, "LockTaken")
      })
    )

    test(
      "an owner whose lock was lost is stopped, and leaves the lock of the next one alone",
      Effect.gen(function* () {
        const entered = yield* Latch.make()
        let stopped = false
        const section = Effect.andThen(entered.open, Effect.never).pipe(
          Effect.onInterrupt(() => Effect.sync(() => (stopped = true)))
        )
        const owner = yield* Effect.forkChild(Lock.withLock("door", { ttl: "900 millis", wait: 0 }, section))
        yield* entered.await
        yield* ask("SET", key, "somebody else's")
        const error = yield* Effect.flip(Fiber.join(owner))
        assert.strictEqual(error._tag, "LockLost")
        assert.ok(stopped)
        assert.strictEqual(yield* ask("GET", key), "somebody else's")
      })
    )

    test(
      "an owner that is interrupted releases it",
      Effect.gen(function* () {
        const entered = yield* Latch.make()
        const owner = yield* Effect.forkChild(
          Lock.withLock("door", patient, Effect.andThen(entered.open, Effect.never))
        )
        yield* entered.await
        yield* Fiber.interrupt(owner)
        assert.strictEqual(yield* ask("EXISTS", key), 0)
      })
    )
  })

  describe("transfer", () => {
    const names = ["ann", "bob", "cat"]

    test(
      "transfers at the same time, from two processes, neither make nor lose money",
      Effect.gen(function* () {
        yield* ask("CONFIG", "RESETSTAT")
        const expected: Record<string, number> = { ann: 500, bob: 500, cat: 0 }
        yield* Transfer.open(expected)
        const transfers = (run: string) =>
          times(40, (index): Transfer.Transfer => {
            const from = names[index % 3] ?? "ann"
            const to = names[(index + 1 + (index % 2)) % 3] ?? "bob"
            return { id: `${run}-${index}`, from, to, amount: 37 + index }
          })
        const makeAll = (run: string) =>
          Effect.forEach(
            transfers(run),
            (each) => Effect.map(Effect.result(Transfer.transfer(each)), (result) => ({ each, result })),
            { concurrency: 6 }
          )
        const outcomes = (yield* Effect.all([makeAll("here"), elsewhere(makeAll("there"))], atOnce)).flat()
        for (const { each, result } of outcomes) {
          if (Result.isFailure(result)) continue
          expected[each.from] = (expected[each.from] ?? 0) - each.amount
          expected[each.to] = (expected[each.to] ?? 0) + each.amount
        }
        const balances = yield* Transfer.balances(names)
        assert.deepStrictEqual(
          balances,
          names.map((name) => expected[name] ?? 0)
        )
        assert.strictEqual(
          balances.reduce((sum, cents) => sum + cents, 0),
          1000
        )
        assert.ok(balances.every((cents) => cents >= 0))
        // They did get into each other's way.
        const made = outcomes.filter(({ result }) => Result.isSuccess(result)).length
        assert.isAbove(made, 40)
        assert.isAbove(yield* callsOf("exec"), made)
      })
    )

    test(
      "a transfer is made once, wherever its connection breaks",
      Effect.gen(function* () {
        const { proxy, through } = yield* makeProxied
        yield* Transfer.open({ ann: 1000, bob: 0 })
        const bytes = times(22, (index) => index * 20)
        yield* through(
          Effect.gen(function* () {
            // The next connections are to be those of the transfers.
            yield* Redis.command(["PING"])
            for (const afterBytes of bytes) {
              const cut = yield* proxy.inject(Fault.cut({ direction: "toClient", afterBytes, how: "rst" }))
              yield* Transfer.transfer({ id: `after ${afterBytes}`, from: "ann", to: "bob", amount: 1 })
              yield* cut.heal
            }
          })
        )
        assert.deepStrictEqual(yield* Transfer.balances(["ann", "bob"]), [1000 - bytes.length, bytes.length])
      })
    )
  })

  describe("rate-limiter", () => {
    test(
      "processes share a limit, keys do not",
      Effect.gen(function* () {
        const call = (key: string) => Effect.isSuccess(RateLimiter.limit(key, { calls: 7, per: "10 minutes" }))
        const calls = Effect.all(Effect.replicate(call("ann"), 50), atOnce)
        const outcomes = (yield* Effect.all([calls, elsewhere(calls)], atOnce)).flat()
        assert.strictEqual(outcomes.filter((allowed) => allowed).length, 7)
        assert.ok(yield* call("bob"))
      })
    )

    test(
      "a refusal says when to come back, and then one gets through",
      Effect.gen(function* () {
        const call = RateLimiter.limit("ann", { calls: 1, per: "10 minutes" })
        yield* call
        const refusal = yield* Effect.flip(call)
        assert.ok(refusal._tag === "RateLimited")
        assert.ok(refusal.retryAfterMillis > 590_000 && refusal.retryAfterMillis <= 600_000, refusal.message)
        // The key is not kept longer than it says anything.
        const left = Number(yield* ask("PTTL", "example:limit:ann"))
        assert.ok(left > 590_000 && left <= 600_000)
      })
    )

    test(
      "those who wait for their turn get through at the rate of the limit",
      Effect.gen(function* () {
        const before = yield* Clock.currentTimeMillis
        const turn = RateLimiter.throttle("ann", { calls: 2, per: "100 millis" })
        yield* Effect.all(Effect.replicate(turn, 8), atOnce)
        // Two at once, and the other six 50 ms apart.
        assert.isAtLeast((yield* Clock.currentTimeMillis) - before, 295)
      })
    )
  })

  describe("leaderboard", () => {
    test(
      "keeps the best of reports that come at once and in any order",
      Effect.gen(function* () {
        const reports = times(1000, (index) => [`player ${index % 20}`, (index * 7919) % 1009] as const)
        const report = (half: number) =>
          Effect.forEach(
            reports.filter((_, index) => index % 2 === half),
            ([player, score]) => Leaderboard.report(player, score),
            atOnce
          )
        yield* Effect.all([report(0), elsewhere(report(1))], atOnce)

        const best = new Map<string, number>()
        for (const [player, score] of reports) best.set(player, Math.max(score, best.get(player) ?? 0))
        const expected = [...best].sort(([p, a], [q, b]) => b - a || (p < q ? 1 : -1))
        assert.deepStrictEqual(yield* Leaderboard.top(20), expected)
        for (const [index, [player, score]] of expected.entries()) {
          assert.deepStrictEqual(yield* Leaderboard.standing(player), { place: index + 1, score })
        }
        const [leader = ["", 0]] = expected
        assert.deepStrictEqual(yield* Leaderboard.around(leader[0], 1), expected.slice(0, 2))
      })
    )

    test(
      "knows who has no score",
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* Leaderboard.top(10), [])
        assert.strictEqual(yield* Leaderboard.standing("nobody"), undefined)
        assert.deepStrictEqual(yield* Leaderboard.around("nobody", 3), [])
      })
    )
  })

  describe("session-store", () => {
    const session = (user: string, secret: Uint8Array): SessionStore.Session => ({ user, roles: [], secret })

    test(
      "keeps any bytes, of many sessions at once",
      Effect.gen(function* () {
        const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index)
        const sessions = times(300, (index) =>
          session(
            `user ${index}`,
            everyByte.map((byte) => byte ^ index)
          )
        )
        const large = session("large", new Uint8Array(200_000).fill(200))
        const ids = yield* Effect.forEach([...sessions, large], SessionStore.create, atOnce)
        assert.strictEqual(new Set(ids).size, 301)
        const found = yield* elsewhere(Effect.forEach(ids, SessionStore.load, atOnce))
        assert.deepStrictEqual(found, [...sessions, large])
        // This is what `decode: "bytes"` is for.
        const error = yield* Effect.flip(Redis.command(["GET", `example:session:${ids[0]}`]))
        assert.strictEqual(error.reason._tag, "DecodeError")
      })
    )

    test(
      "a session lives on while it is read",
      Effect.gen(function* () {
        const id = yield* SessionStore.create(session("ann", new Uint8Array()))
        const left = Effect.map(ask("TTL", `example:session:${id}`), Number)
        assert.isAtLeast(yield* left, SessionStore.lifetime - 5)
        yield* ask("EXPIRE", `example:session:${id}`, 60)
        yield* SessionStore.load(id)
        assert.isAtLeast(yield* left, SessionStore.lifetime - 5)
      })
    )

    test(
      "what is not a session is none",
      Effect.gen(function* () {
        yield* ask("SET", "example:session:old", "written by an older program")
        assert.strictEqual(yield* SessionStore.load("old"), null)
        assert.strictEqual(yield* SessionStore.load("never there"), null)
      })
    )
  })

  describe("bulk-load", () => {
    const rows = Stream.map(Stream.range(1, 100_000), (n): BulkLoad.Row => [`row:${n}`, `value ${n}`])

    test(
      "loads 100 000 keys, also when the server throws the client out in the middle",
      Effect.gen(function* () {
        let seen = 0
        const disturbed = Stream.tap(rows, () =>
          ++seen === 30_000 || seen === 60_000 ? Effect.asVoid(ask("CLIENT", "KILL", "TYPE", "normal")) : Effect.void
        )
        const sessions = Effect.map(Redis.status, (status) => status.sessions)
        const before = yield* sessions
        assert.strictEqual(yield* BulkLoad.load(disturbed), 100_000)
        assert.isAtLeast((yield* sessions) - before, 2)
        assert.strictEqual(yield* BulkLoad.count(Stream.map(rows, ([key]) => key)), 100_000)
        assert.strictEqual(yield* ask("DBSIZE"), 100_000)
        assert.deepStrictEqual(yield* ask("MGET", "row:1", "row:50000", "row:100000"), [
          "value 1",
          "value 50000",
          "value 100000"
        ])
      })
    )

    test(
      "the count tells what the server refused in silence",
      Effect.gen(function* () {
        const some = Stream.take(rows, 2500)
        yield* ask("CONFIG", "SET", "maxmemory", 1)
        const sent = yield* Effect.ensuring(BulkLoad.load(some), Effect.ignore(ask("CONFIG", "SET", "maxmemory", 0)))
        assert.strictEqual(sent, 2500)
        assert.strictEqual(yield* BulkLoad.count(Stream.map(some, ([key]) => key)), 0)
      })
    )
  })

  describe("consumer-group", () => {
    const publishMany = (count: number) =>
      Effect.forEach(
        times(count, (index) => `order ${index}`),
        ConsumerGroup.publish
      )

    test(
      "consumers share the entries, each is handled once, and those that come later too",
      Effect.gen(function* () {
        yield* ConsumerGroup.createGroup
        yield* ConsumerGroup.createGroup
        const handled: Array<string> = []
        const [all, last] = [yield* Latch.make(), yield* Latch.make()]
        const consumer = (name: string) =>
          ConsumerGroup.consume(name, "30 seconds", ([, fields]) =>
            Effect.suspend(() => {
              const count = handled.push(fields?.["order"] ?? "")
              return count === 500 ? all.open : count === 501 ? last.open : Effect.void
            })
          )
        const both = yield* Effect.forkChild(Effect.all([consumer("ann"), elsewhere(consumer("bob"))], atOnce))
        yield* publishMany(500)
        yield* all.await
        // They wait, and the server wakes one of them.
        yield* awaitBlocked(2)
        yield* ConsumerGroup.publish("late")
        yield* last.await
        assert.strictEqual(new Set(handled).size, 501)
        assert.strictEqual(handled.at(-1), "late")
        yield* Effect.repeat(ConsumerGroup.pending, { until: (count) => count === 0 })
        yield* Fiber.interrupt(both)
      })
    )

    test(
      "the pending entries of a consumer that dies are claimed by another one",
      Effect.gen(function* () {
        yield* ConsumerGroup.createGroup
        yield* publishMany(25)
        const started = yield* Latch.make()
        const dying = yield* Effect.forkChild(
          ConsumerGroup.consume("ann", "30 seconds", () => Effect.andThen(started.open, Effect.never))
        )
        yield* started.await
        yield* Fiber.interrupt(dying)
        assert.strictEqual(yield* ConsumerGroup.pending, 10)

        const handled: Array<string> = []
        const all = yield* Latch.make()
        const taker = ConsumerGroup.consume("bob", "100 millis", ([, fields]) =>
          Effect.suspend(() => (handled.push(fields?.["order"] ?? "") === 25 ? all.open : Effect.void))
        )
        const running = yield* Effect.forkChild(elsewhere(taker))
        yield* all.await
        yield* Effect.repeat(ConsumerGroup.pending, { until: (count) => count === 0 })
        yield* Fiber.interrupt(running)
        assert.strictEqual(new Set(handled).size, 25)
      })
    )
  })
})

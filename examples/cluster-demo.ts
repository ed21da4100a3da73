/**
 * `npm run demo:cluster`: a cluster of six nodes that is broken for twenty seconds under load, and a ledger of what came of it.
 *
 * Slots move all the while, one primary is killed and another is paused. Forty fibers write texts to lists, each text once, and
 * read what must always be there; at the end the lists are read from the servers. The exit code is 0 only if everything
 * held that the summary lists. `--seconds N` makes it longer or shorter.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { RedisCluster } from "@relive/cluster"
import { Redis } from "@relive/core"
import type { RedisError, RedisService } from "@relive/core"
import { RedisCluster as Servers } from "@relive/testing"
import { Effect, Fiber, References, Stream } from "effect"

const at = process.argv.indexOf("--seconds")
const seconds = at < 0 ? 20 : Math.max(8, Number(process.argv[at + 1]) || 20)

const CALLERS = 40
const TAGS = Array.from({ length: 60 }, (_, i) => `demo:${i}`)

const isLive = process.stdout.isTTY === true

/** The outcomes that the callers were told. */
const book = {
  calls: 0,
  acknowledged: new Set<string>(),
  unsent: new Set<string>(),
  unknown: new Set<string>(),
  wrongReads: 0,
  failedReads: 0,
  slowest: 0,
  faults: [] as Array<string>,
  happenings: [] as Array<string>
}

const told = (text: string, error: RedisError.RedisError): void => {
  ;(error.delivery === "unknown" ? book.unknown : book.unsent).add(text)
}

const valueOf = (tag: string): string => `constant of ${tag}`

const caller = (index: number, end: number): Effect.Effect<void, never, RedisService> =>
  Effect.gen(function* () {
    for (let n = 0; performance.now() < end; n++) {
      const tag = TAGS[(index * 7 + n) % TAGS.length] ?? ""
      const began = performance.now()
      if (n % 2 === 0) {
        const text = `${index}:${n}`
        yield* Effect.match(Redis.command(["RPUSH", `{${tag}}:list`, text]), {
          onSuccess: () => book.acknowledged.add(text),
          onFailure: (error) => told(text, error)
        })
      } else {
        yield* Effect.match(Redis.command(["GET", `{${tag}}:constant`]), {
          onSuccess: (reply) => {
            if (reply !== valueOf(tag)) book.wrongReads++
          },
          onFailure: () => book.failedReads++
        })
      }
      book.calls++
      book.slowest = Math.max(book.slowest, performance.now() - began)
      yield* Effect.sleep(1)
    }
  })

const say = (line: string): void => {
  book.faults.push(line)
  if (!isLive) console.log(line)
}

/** The faults that are done to the cluster. */
const breakThings = (servers: Servers.RedisCluster, millis: number) =>
  Effect.gen(function* () {
    const second = millis / 20
    const moving = Effect.gen(function* () {
      for (let i = 0; ; i++) {
        const slot = RedisCluster.slotOf(TAGS[i % TAGS.length] ?? "")
        const owner = yield* servers.ownerOf(slot)
        const to = (yield* servers.primaries).filter((node) => node !== owner)[i % 2]
        if (to !== undefined) yield* servers.migrate(slot, to)
        yield* Effect.sleep(100)
      }
    }).pipe(Effect.retry({ times: 3 }))
    say("slots move from node to node, one after the other")
    yield* Effect.timeoutOption(moving, 5 * second)
    say("primary A is killed")
    yield* servers.node("A").server.kill
    const heir = yield* servers.awaitSuccessor(servers.node("A"))
    say(`${heir.name} has taken over`)
    yield* servers.node("A").server.start
    yield* servers.awaitUp
    yield* Effect.sleep(2 * second)
    say("primary B is paused")
    yield* servers.node("B").server.pause
    const next = yield* servers.awaitSuccessor(servers.node("B"))
    say(`${next.name} has taken over`)
    yield* servers.node("B").server.resume
    yield* servers.awaitUp
    say("slots move again")
    yield* Effect.timeoutOption(moving, 3 * second)
  })

const frame = (status: RedisCluster.ClusterStatus): string => {
  const { redirects, refreshes, shards } = status
  const lines = shards.map(({ primary, ranges }) => {
    const count = ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0)
    return `  ${primary.address.padEnd(16)} ${String(count).padStart(6)} slots  ${primary.state.padEnd(11)} ${primary.inFlight} in flight, ${primary.queued} queued`
  })
  return [
    ...lines,
    `  ${book.calls} calls, ${book.unknown.size} unknown; MOVED ${redirects.moved}, ASK ${redirects.ask}, TRYAGAIN ${redirects.tryAgain}, CLUSTERDOWN ${redirects.clusterDown}; map asked for ${refreshes.asked} times`,
    ...book.faults.slice(-3).map((line) => `  > ${line}`)
  ].join("\n")
}

const view = Effect.gen(function* () {
  for (;;) {
    const text = frame(yield* RedisCluster.status)
    if (isLive) console.log(`\x1b[2J\x1b[H${text}`)
    yield* Effect.sleep(200)
  }
})

/** The texts that the servers have. */
const readBack = Effect.gen(function* () {
  const lists = yield* Redis.pipeline(TAGS.map((tag) => ["LRANGE", `{${tag}}:list`, 0, -1]))
  return lists.flatMap((list) => (Array.isArray(list) ? list.map(String) : []))
})

const summary = (texts: ReadonlyArray<string>, status: RedisCluster.ClusterStatus): boolean => {
  const there = new Set(texts)
  const count = (told: ReadonlySet<string>, ran: boolean) => [...told].filter((text) => there.has(text) === ran).length
  const doubles = texts.length - there.size
  const rows: ReadonlyArray<readonly [name: string, value: number, mustBe: number | undefined]> = [
    ["calls", book.calls, undefined],
    ["writes acknowledged", book.acknowledged.size, undefined],
    ["writes told as unknown", book.unknown.size, undefined],
    ["   of which had run", count(book.unknown, true), undefined],
    ["slowest call, ms", Math.round(book.slowest), undefined],
    ["refusals followed", Object.values(status.redirects).reduce((sum, n) => sum + n, 0), undefined],
    ["run twice", doubles, 0],
    ["told as unsent, and run", count(book.unsent, true), 0],
    ["wrong replies", book.wrongReads, 0],
    ["reads that failed", book.failedReads, 0],
    ["writes told as unsent", book.unsent.size, 0]
  ]
  for (const [name, value, mustBe] of rows) {
    console.log(`${mustBe === undefined ? "     " : value === mustBe ? "  ok " : "FAIL "} ${name.padEnd(28)} ${value}`)
  }
  return rows.every(([, value, mustBe]) => mustBe === undefined || value === mustBe)
}

const program = Effect.gen(function* () {
  console.log("Starting a cluster: three primaries with a replica each …")
  const servers = yield* Servers.make({ replicas: 1, nodeTimeoutMillis: 1000 })
  const held = yield* Effect.gen(function* () {
    yield* Redis.pipeline(TAGS.map((tag) => ["SET", `{${tag}}:constant`, valueOf(tag)]))
    const end = performance.now() + seconds * 1000
    const callers = yield* Effect.forkChild(
      Effect.all(
        Array.from({ length: CALLERS }, (_, i) => caller(i, end)),
        { concurrency: "unbounded", discard: true }
      )
    )
    yield* Effect.forkChild(
      Stream.runForEach(RedisCluster.events, ({ _tag }) => Effect.sync(() => book.happenings.push(_tag)))
    )
    const watching = yield* Effect.forkChild(view)
    yield* breakThings(servers, seconds * 1000)
    yield* Fiber.join(callers)
    yield* Fiber.interrupt(watching)
    const status = yield* RedisCluster.status
    console.log(`\n${frame(status)}\n`)
    return summary(yield* readBack, status)
  }).pipe(Effect.provide(RedisCluster.layer({ nodes: servers.urls, timeout: "10 seconds" })))
  process.exitCode = held ? 0 : 1
}).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))

NodeRuntime.runMain(program)

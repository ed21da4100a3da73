/**
 * One run, from the start of the server to the verdict:
 *
 * ```
 *   fibers of the workload ──▶ connections, pool ──▶ fault proxy of each ──▶ real server (appendonly, appendfsync always)
 *        │  every call                                  ▲                       ▲        │
 *        ▼                                       plans of faults           kill, stop   sweeps read what was executed
 *       book ◀──────────────────────────────────────────────────────────────────────────┘
 * ```
 *
 * At the end the connections are closed with calls under way; then every call must have settled, and nothing be left.
 */
import { FaultProxy, Ledger, RedisServer, type RedisSentinel } from "@relive/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { Book, kinds, type Finding, type Law } from "./Book.ts"
import * as Faults from "./Faults.ts"
import * as Fixtures from "./Fixtures.ts"
import * as Groups from "./Groups.ts"
import { History } from "./History.ts"
import { Lane } from "./Lane.ts"
import * as Leased from "./Leased.ts"
import { Leaks, type Held } from "./Leaks.ts"
import { Pace } from "./Pace.ts"
import { PubSub } from "./PubSub.ts"
import * as Queues from "./Queues.ts"
import * as Registers from "./Registers.ts"
import * as Seeded from "./Seeded.ts"
import { connections, enough, type Settings } from "./Settings.ts"
import * as Resubscribing from "./Resubscribing.ts"
import * as Switches from "./Switches.ts"
import { Traces } from "./Traces.ts"
import type { Report } from "./Verdict.ts"
import * as Trials from "./Trials.ts"
import * as Verdict from "./Verdict.ts"
import type { Work } from "./Work.ts"
import * as Writes from "./Writes.ts"

/** A run's end. */
export interface Outcome {
  readonly report: Report
  readonly findings: ReadonlyArray<Finding>
  readonly history: History
  /** Its duration in seconds. */
  readonly seconds: number
}

/** The fibers of one connection: how many do what. */
const crew: ReadonlyArray<readonly [fibers: number, work: (work: Work) => Effect.Effect<void>]> = [
  [8, Registers.registers],
  [6, Writes.counting],
  [3, Writes.pushing],
  [4, Writes.retrying],
  [4, Writes.scripted],
  [4, Groups.pipelinesOfReads],
  [3, Groups.pipelinesOfAll],
  [4, Groups.transactions],
  [3, Groups.silent],
  [3, Leased.leases],
  [3, Leased.watches]
]

const BLOCKING_FIBERS = 5

/** The calls that are under way at the end have their deadlines, and those of several calls some of them. */
const SETTLE_WITHIN_MILLIS = 15_000
const LEAVE_WITHIN_MILLIS = 5_000
const SWEEP_MILLIS = 1_000
const SAMPLE_MILLIS = 20
const HELD_UP_MILLIS = 60
const SHOWN_LEAKS = 5
/** The stretch of history shown before a finding that took time to be one. */
const LOOK_BACK_MILLIS = 4_000

export const run = (settings: Settings): Effect.Effect<Outcome, RedisServer.RedisServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const history = new History()
    const book = new Book(history, yield* Ledger.make)
    const leaks = new Leaks()
    const server = yield* RedisServer.make({
      appendOnly: true,
      tls: settings.tls,
      config: { "auto-aof-rewrite-min-size": "8mb" }
    })
    yield* server.commands(Fixtures.commands)
    const proxies = yield* Effect.forEach(connections, (_, index) =>
      FaultProxy.make(server, { seed: settings.seed * 17 + index })
    )
    const trialServers = { ...(yield* Trials.servers), resubscribing: yield* Resubscribing.servers }
    const group = settings.seconds < enough.longSeconds ? undefined : yield* Switches.servers
    leaks.start()
    yield* Effect.addFinalizer(() => Effect.sync(() => leaks.stop()))
    const before = yield* leaks.held

    const { tls } = server
    const lanes = yield* Effect.forEach(connections, (plain, index) => {
      const proxy = proxies[index]
      const connection = tls === undefined ? plain : { ...plain, options: { ...plain.options, tls: { ca: tls.ca } } }
      return proxy === undefined ? Effect.die("a proxy for each connection") : Lane.make(connection, proxy, history)
    })
    const soaked = yield* soak(settings, book, lanes, server, trialServers, group)
    const leaked = yield* whatIsLeft(leaks, before, proxies, server)
    const report = yield* judge(settings, book, lanes, soaked, leaked)
    return { ...report, history, seconds: soaked.seconds }
  })

/** The observations while it ran. */
interface Soaked {
  readonly faults: ReadonlyMap<Faults.Kind, number>
  readonly maxMailboxDepth: number
  readonly seconds: number
}

const soak = (
  settings: Settings,
  book: Book,
  lanes: ReadonlyArray<Lane>,
  server: RedisServer.RedisServer,
  trialServers: Trials.Servers & { readonly resubscribing: Resubscribing.Servers },
  group: RedisSentinel.RedisSentinel | undefined
): Effect.Effect<Soaked, RedisServer.RedisServerError> =>
  Effect.gen(function* () {
    const { history } = book
    const pace = new Pace(book)
    const traces = new Traces(book, server)
    const lock = Semaphore.makeUnsafe(1)
    const works = workers(settings, book, lanes, pace, server)
    const onBroken = (lane: Lane, law: Law, what: string) =>
      book.breaks(law, lane.name, what, history.now() - LOOK_BACK_MILLIS)
    const player = new Faults.Player(lanes, server, lock, history, onBroken)

    const startedAt = history.now()
    let maxMailboxDepth = 0
    let sampledAt = history.now()
    const sample = Effect.sync(() => {
      const late = history.now() - sampledAt - SAMPLE_MILLIS
      if (late > HELD_UP_MILLIS) history.heldUp(late)
      sampledAt = history.now()
      for (const lane of lanes) maxMailboxDepth = Math.max(maxMailboxDepth, lane.status().queued)
    })
    const sampler = yield* Effect.forkChild(Effect.forever(Effect.andThen(sample, Effect.sleep(SAMPLE_MILLIS))))
    const sweeper = yield* Effect.forkChild(
      Effect.forever(Effect.andThen(Effect.sleep(SWEEP_MILLIS), lock.withPermit(Effect.uninterruptible(traces.sweep))))
    )
    const publishing = yield* Scope.make()
    const pubsub = yield* Scope.provide(PubSub.make(book, server), publishing)
    const listening = yield* Effect.forkChild(pubsub.run(lanes))
    const working = yield* Effect.forEach(works.all, (work) => Effect.forkChild(work))
    const trials: Trials.Trials = {
      random: Seeded.make(settings.seed, 0),
      counted: (kind) => player.count(kind, "trials"),
      onBroken: (law, what) => book.breaks(law, "trials", what, history.now() - LOOK_BACK_MILLIS)
    }
    const tried = yield* Effect.forEach(
      [
        Trials.freezes(trials, trialServers),
        Trials.failovers(trials, trialServers),
        Trials.refusedSelects(trials, trialServers),
        Resubscribing.resubscribes(trials, trialServers.resubscribing),
        ...(group === undefined ? [] : [Switches.switches(trials, group)])
      ],
      (trial) =>
        Effect.forkChild(
          Effect.tapCause(trial, (cause) =>
            Effect.sync(() =>
              Cause.hasInterruptsOnly(cause)
                ? undefined
                : trials.onBroken("unsettled", `a trial has failed: ${String(cause)}`)
            )
          )
        )
    )
    yield* Effect.raceFirst(
      player.play(
        Faults.plan(
          settings.seed,
          settings.seconds,
          connections.map(({ options }) => options.protocol ?? "auto")
        )
      ),
      Fiber.join(sweeper)
    )
    yield* Fiber.interruptAll(tried)
    yield* player.recovery
    yield* pubsub.recovery
    pubsub.end()
    const seconds = (history.now() - startedAt) / 1_000
    yield* Fiber.interrupt(sampler)
    yield* Fiber.interrupt(sweeper)

    // The close has calls under way: the fibers go on until it is done.
    yield* Effect.forEach(
      lanes,
      (lane) =>
        Effect.map(lane.shut, (closed) =>
          closed ? undefined : onBroken(lane, "unsettled", "the last close did not end in time")
        ),
      {
        concurrency: "unbounded",
        discard: true
      }
    )
    pace.end()
    yield* Fiber.interrupt(listening)
    yield* Scope.close(publishing, Exit.void)
    pubsub.judge()
    yield* settleAll(book, working)
    // Bytes that a proxy still holds may be executed yet.
    yield* Effect.timeoutOption(allLeft(lanes), LEAVE_WITHIN_MILLIS)
    yield* traces.sweep
    yield* Effect.forEach(works.queues, (queue) => queue.settle(server), { discard: true })
    return { faults: player.counts, maxMailboxDepth, seconds }
  })

/** Waits until no connection is left in the proxies. */
const allLeft = (lanes: ReadonlyArray<Lane>): Effect.Effect<void> =>
  Effect.forEach(
    lanes,
    ({ proxy }) =>
      Effect.repeat(Effect.andThen(Effect.sleep(SAMPLE_MILLIS), proxy.connections), { until: (count) => count === 0 }),
    { discard: true }
  )

interface Workers {
  readonly all: ReadonlyArray<Effect.Effect<void>>
  readonly queues: ReadonlyArray<Queues.Queue>
}

const workers = (
  settings: Settings,
  book: Book,
  lanes: ReadonlyArray<Lane>,
  pace: Pace,
  server: RedisServer.RedisServer
): Workers => {
  let fiber = 0
  const workOf = (lane: Lane): Work => ({
    book,
    lane,
    pace,
    server,
    fiber: fiber++,
    random: Seeded.make(settings.seed, fiber)
  })
  const times = <A>(count: number, make: () => A): ReadonlyArray<A> => Array.from({ length: count }, make)
  const plain = lanes.flatMap((lane) => crew.flatMap(([count, work]) => times(count, () => work(workOf(lane)))))
  const poppers = lanes.flatMap((lane) =>
    times(BLOCKING_FIBERS, () => {
      const work = workOf(lane)
      return { work, queue: new Queues.Queue(work) }
    })
  )
  return {
    all: [...plain, ...poppers.map(({ queue, work }) => Queues.blocking(work, queue))],
    queues: poppers.map(({ queue }) => queue)
  }
}

/** Waits for the fibers of the workload. A call that hangs stays unsettled, which the ledger counts. */
const settleAll = (book: Book, working: ReadonlyArray<Fiber.Fiber<void>>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const all = Effect.forEach(working, (fiber) => Fiber.await(fiber))
    const exits = yield* Effect.timeoutOption(all, SETTLE_WITHIN_MILLIS)
    if (exits._tag === "None") {
      const pending = yield* book.ledger.pending
      book.history.add("soak", `${pending} calls have not settled within ${SETTLE_WITHIN_MILLIS} ms of the end`)
      // Not waited for: what does not settle may not be interruptible either.
      yield* Effect.forEach(working, (fiber) => Effect.forkDetach(Fiber.interrupt(fiber)), { discard: true })
      return
    }
    for (const exit of exits.value) {
      if (exit._tag === "Failure")
        book.breaks("wrongReplies", "soak", `a fiber of the workload has failed: ${exit.cause}`)
    }
  })

interface Left {
  /** In this process, at the server, and in the proxies: the most of the three. */
  readonly sockets: number
  readonly timers: number
  readonly fibers: ReadonlyArray<string>
  /** All of it, for a reader. */
  readonly what: ReadonlyArray<string>
}

/** Looks until nothing is left, or for so long. */
const whatIsLeft = (
  leaks: Leaks,
  before: Held,
  proxies: ReadonlyArray<FaultProxy.FaultProxy>,
  server: RedisServer.RedisServer
): Effect.Effect<Left, RedisServer.RedisServerError> =>
  Effect.gen(function* () {
    const look = Effect.gen(function* () {
      // The last question's own socket is closing still.
      const clients = yield* server.command(["CLIENT", "LIST"])
      for (let turn = 0; turn < 3; turn++) yield* Effect.yieldNow
      const proxied = yield* Effect.forEach(proxies, (proxy) => proxy.connections)
      const known = String(clients)
        .split("\n")
        .filter((line) => line !== "" && !line.includes("cmd=client|list"))
      const leaked = yield* leaks.since(before)
      const inProxies = proxied.reduce((sum, count) => sum + count, 0)
      const what = [
        ...(leaked.sockets > 0 ? [`${leaked.sockets} sockets of this process`] : []),
        ...(inProxies > 0 ? [`${proxied.join("+")} connections in the proxies`] : []),
        ...known.map((client) => `a client of the server (${client})`),
        ...(leaked.timers > 0 ? [`${leaked.timers} timers`] : []),
        ...leaked.fibers.map((fiber) => `fiber ${fiber}`)
      ]
      return { ...leaked, sockets: Math.max(leaked.sockets, known.length, inProxies), what }
    })
    const giveUpAt = performance.now() + LEAVE_WITHIN_MILLIS
    for (;;) {
      const left = yield* look
      if (left.what.length === 0 || performance.now() > giveUpAt) return left
      yield* Effect.callback<void>((resume) => {
        setTimeout(() => resume(Effect.void), 100)
      })
    }
  })

const judge = (
  settings: Settings,
  book: Book,
  lanes: ReadonlyArray<Lane>,
  soaked: Soaked,
  left: Left
): Effect.Effect<{ readonly report: Report; readonly findings: ReadonlyArray<Finding> }> =>
  Effect.map(book.ledger.report, (judged) => {
    const { broken } = book
    const report: Report = {
      commands: book.commands,
      faults: [...soaked.faults.values()].reduce((sum, count) => sum + count, 0),
      byKind: Object.fromEntries(kinds.map((kind) => [kind, book.submitted.get(kind) ?? 0])),
      byFault: Object.fromEntries(soaked.faults),
      acknowledged: judged.acknowledged + judged.refused,
      unsent: judged.unsent,
      unknown: judged.unknown + judged.interrupted,
      readsRepeated: lanes.reduce((sum, lane) => sum + lane.readsRepeated, 0),
      wrongReplies: broken.wrongReplies + judged.wrongReplies + judged.settledTwice + judged.executedUnknown,
      executedThoughUnsent: broken.executedThoughUnsent + judged.executedThoughUnsent,
      executedTwice: broken.executedTwice + judged.executedTwice,
      lostAcknowledged: broken.lostAcknowledged + judged.lostAcknowledged,
      unsettled: broken.unsettled + judged.unsettled,
      missedOutsideGap: broken.missedOutsideGap,
      deliveredTwice: broken.deliveredTwice,
      leakedSockets: left.sockets,
      leakedTimers: left.timers,
      leakedFibers: left.fibers.length,
      maxMailboxDepth: soaked.maxMailboxDepth,
      longestOutageMs: Math.round(Math.max(...lanes.map((lane) => lane.longestOutageMillis))),
      p99Ms: Number(book.latency.quantile(0.99).toFixed(1)),
      seed: settings.seed
    }
    const leaks: ReadonlyArray<Finding> = left.what
      .slice(0, SHOWN_LEAKS)
      .map((what) => ({ law: "unsettled", what: `left behind: ${what}`, from: Infinity, to: Infinity }))
    return { report, findings: [...book.findings, ...Verdict.findingsOf(judged.violations), ...leaks] }
  })

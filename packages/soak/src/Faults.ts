/**
 * Faults and their times: plans that are plain data, made from the seed before anything runs, and their players.
 *
 * Besides the loss faults there is corruption, a little: it must end the session, and a connection that goes on without
 * answering is a law broken. The details of corruption have a suite of their own, in the tests of this package. And there are
 * interjections: all connections are cut, and the next ones are told a line that nobody asked for in the middle of their
 * handshake, slowly, so that what is left over does not come in the same read.
 *
 * Each connection has a plan of faults in its proxy; the server has one of its own; and one closes connections and makes
 * them again, which is no fault but what a program may do at any time. A fault counts only when it hit a ready session, and,
 * when it is one that ends sessions, when that session has ended. To hit one, it waits a little for the session to be ready.
 */
import { Fault, FaultSchedule, type FaultProxy, type RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import type * as Semaphore from "effect/Semaphore"
import type { Law } from "./Book.ts"
import type { History } from "./History.ts"
import type { Lane } from "./Lane.ts"

/** The kinds of faults. */
export const kinds = [
  "cutFin",
  "cutRst",
  "halfClose",
  "delay",
  "throttle",
  "slowLoris",
  "blackHole",
  "stall",
  "refuseClosed",
  "refuseReset",
  "corrupt",
  "interject",
  "clientKill",
  "pause",
  "stop",
  "kill",
  "freeze",
  "failover",
  "elsewhere",
  "resubscribe",
  "switch"
] as const

export type Kind = (typeof kinds)[number]

/** Those that are trials with servers of their own, and in no plan. */
export const trials: ReadonlySet<Kind> = new Set<Kind>(["freeze", "failover", "elsewhere", "resubscribe", "switch"])

/** A fault of a proxy. Established connections do not feel a refusal, so it comes with a cut. */
interface NetworkFault {
  readonly kind: Kind
  /** The connections there are end first, since only new ones feel it. */
  readonly renews?: Fault.CutKind
  readonly faults: readonly [Fault.Fault, ...ReadonlyArray<Fault.Fault>]
  readonly endsSession: boolean
}

type ServerFault = "clientKill" | "pause" | "stop" | "kill"

type Random = FaultSchedule.Random

const direction = (random: Random): Fault.Direction => random.pick(["toServer", "toClient"])
const directions = (random: Random): Fault.Directions => random.pick(["toServer", "toClient", "both"])
/** Cuts fall inside of commands and replies. */
const afterBytes = (random: Random): number => random.integer(0, random.pick([0, 200, 3_000]))

const [anyCorruption = () => Fault.corrupt(), ...otherCorruptions] = FaultSchedule.corruptionFaults
const corruptions = [anyCorruption, ...otherCorruptions] as const

const cutOf = (how: Fault.CutKind, random: Random): Fault.Fault =>
  Fault.cut({ how, direction: direction(random), afterBytes: afterBytes(random), times: Infinity })

const corruptionOf = (random: Random): Fault.Fault => {
  const fault = random.pick(corruptions)(random)
  return Fault.isCorruption(fault) ? { ...fault, afterBytes: afterBytes(random), times: Infinity } : fault
}

/** Lines that are a reply to something, though not to what was asked. */
const outOfTurn = ["+OK", "+OK", "+OK", "+PONG", ":1", "$-1", "-ERR unknown command"] as const

/** What a connection was told to speak. */
export type Protocol = 2 | 3 | "auto"

/**
 * In the middle of a handshake. With RESP3 that has four replies, or two with a peer that has closed the connection in the middle of
 * one: a line behind the second would be no part of it. With RESP2 it can be a single `PING`, so all is said before anything is
 * asked. An error there, and then a cut, is what a server does that knows RESP2 only, so with RESP3 errors come behind the first
 * reply. And nothing tells a PONG in front of PING's own from that one.
 */
const interjectionOf = (random: Random, protocol: Protocol): Fault.Fault => {
  const line = random.pick(outOfTurn)
  const after = line === "+PONG" ? 0 : line.startsWith("-") ? 1 : random.integer(0, 1)
  return Fault.interject(line, { afterReplies: protocol === 2 ? 0 : after, gapMillis: 10, times: Infinity })
}

const networkFaultsOf = (protocol: Protocol): ReadonlyArray<FaultSchedule.Kind<NetworkFault>> => [
  (random) => ({ kind: "cutFin", faults: [cutOf("fin", random)], endsSession: true }),
  (random) => ({ kind: "cutRst", faults: [cutOf("rst", random)], endsSession: true }),
  (random) => ({
    kind: "halfClose",
    faults: [Fault.halfClose({ direction: direction(random), afterBytes: afterBytes(random), times: Infinity })],
    endsSession: true
  }),
  (random) => ({
    kind: "delay",
    faults: [Fault.delay(random.integer(1, 100), { direction: directions(random), jitterMillis: 50 })],
    endsSession: false
  }),
  (random) => ({
    kind: "throttle",
    faults: [Fault.throttle(random.integer(1_000, 100_000), directions(random))],
    endsSession: false
  }),
  (random) => ({
    kind: "slowLoris",
    faults: [Fault.slowLoris(random.integer(1, 10), directions(random))],
    endsSession: false
  }),
  (random) => ({ kind: "blackHole", faults: [Fault.blackHole(directions(random))], endsSession: true }),
  (random) => ({ kind: "stall", faults: [Fault.stall(directions(random))], endsSession: false }),
  (random) => ({
    kind: "refuseClosed",
    faults: [cutOf("fin", random), Fault.refuse("closed")],
    endsSession: true
  }),
  (random) => ({
    kind: "refuseReset",
    faults: [cutOf("rst", random), Fault.refuse("reset")],
    endsSession: true
  }),
  (random) => ({ kind: "corrupt", faults: [corruptionOf(random)], endsSession: true }),
  (random) => ({ kind: "corrupt", faults: [corruptionOf(random)], endsSession: true }),
  (random) => ({
    kind: "interject",
    renews: random.pick(["fin", "rst"]),
    faults: [interjectionOf(random, protocol)],
    endsSession: true
  })
]

const serverFaults: ReadonlyArray<FaultSchedule.Kind<ServerFault>> = [
  () => "clientKill",
  () => "pause",
  () => "stop",
  () => "kill"
]

/** All that a run does to its connections. */
export interface Plan {
  readonly durationMillis: number
  readonly network: ReadonlyArray<FaultSchedule.Schedule<NetworkFault>>
  readonly server: FaultSchedule.Schedule<ServerFault>
  /** The connection that is closed, and for how long there is none. */
  readonly closes: FaultSchedule.Schedule<number>
}

/** The same seed, the same plan. `lanes` are the connections, each by its protocol. */
export const plan = (seed: number, seconds: number, lanes: ReadonlyArray<Protocol>): Plan => {
  const durationMillis = seconds * 1_000 - 300
  return {
    durationMillis,
    network: lanes.map((protocol, index) =>
      FaultSchedule.make({
        seed: seed * 31 + index + 1,
        durationMillis,
        kinds: networkFaultsOf(protocol),
        lengthMillis: [40, 350],
        gapMillis: [250, 900]
      })
    ),
    server: FaultSchedule.make({
      seed: seed * 31,
      durationMillis,
      kinds: serverFaults,
      lengthMillis: [30, 400],
      gapMillis: [600, 1_500]
    }),
    closes: FaultSchedule.make({
      seed: seed * 31 - 1,
      durationMillis,
      kinds: lanes.map((_, lane) => () => lane),
      lengthMillis: [0, 150],
      gapMillis: [1_500, 3_500]
    })
  }
}

/** A pause shall be longer than the deadlines at times. */
const PAUSE_FACTOR = 3

const READY_WITHIN_MILLIS = 2_000
const HIT_WITHIN_MILLIS = 700
/** From a black hole on it takes a deadline, and a look of the health check. */
const ENDS_WITHIN_MILLIS = 2_000
const NOTICED_WITHIN_MILLIS = 400
const RECOVERS_WITHIN_MILLIS = 15_000
const SILENT_MILLIS = 150
const HELD_UP_MILLIS = 600
const POLL_MILLIS = 5

/** Waits until it is so, or for so long; returns which. */
const until = (condition: () => boolean, millis: number): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const giveUpAt = performance.now() + millis
    while (!condition()) {
      if (performance.now() > giveUpAt) return false
      yield* Effect.sleep(POLL_MILLIS)
    }
    return true
  })

/** Ends the connections there are, and none that come. */
const cutAll = ({ proxy }: Lane, how: Fault.CutKind): Effect.Effect<void> =>
  Effect.flatMap(proxy.inject(Fault.cut({ how, times: Infinity })), ({ heal }) => heal)

/** Plays plans, and counts the faults that hit. */
export class Player {
  readonly counts: Map<Kind, number> = new Map(kinds.map((kind) => [kind, 0]))
  private readonly lanes: ReadonlyArray<Lane>
  private readonly server: RedisServer.RedisServer
  private readonly history: History
  /** Held while the server must not go away, or must not be asked. */
  private readonly serverLock: Semaphore.Semaphore
  private serverTroubleUntil = 0
  /** Until when a session may yet end by the silence of a black hole; of a pool others have ended before. */
  private readonly silencedUntil = new Map<Lane, number>()
  private readonly onBroken: (lane: Lane, law: Law, what: string) => void

  constructor(
    lanes: ReadonlyArray<Lane>,
    server: RedisServer.RedisServer,
    serverLock: Semaphore.Semaphore,
    history: History,
    onBroken: (lane: Lane, law: Law, what: string) => void
  ) {
    this.lanes = lanes
    this.server = server
    this.serverLock = serverLock
    this.history = history
    this.onBroken = onBroken
  }

  /** The world is well again: each connection must be ready and serve calls, soon. */
  readonly recovery: Effect.Effect<void> = Effect.suspend(() => {
    const startedAt = this.history.now()
    const recovers = (lane: Lane) =>
      Effect.map(
        until(() => lane.isReady && lane.answeredAt > startedAt, RECOVERS_WITHIN_MILLIS),
        (recovered) => {
          if (recovered) return
          const what = `is ${lane.status().state} and answers nothing ${RECOVERS_WITHIN_MILLIS} ms after the last fault`
          this.onBroken(lane, "unsettled", what)
        }
      )
    return Effect.forEach(this.lanes, recovers, { concurrency: "unbounded", discard: true })
  })

  /** Plays all to the end; then everything is healed. */
  readonly play = (plan: Plan): Effect.Effect<void, RedisServer.RedisServerError> =>
    Effect.all(
      [
        ...this.lanes.map((lane, index) =>
          this.inTime(plan, plan.network[index] ?? [], (entry) => this.inNetwork(lane, entry.value, entry.forMillis))
        ),
        this.inTime(plan, plan.server, (entry) => this.atServer(entry.value, entry.forMillis)),
        this.inTime(plan, plan.closes, (entry) => this.reopen(entry.value, entry.forMillis))
      ],
      { concurrency: "unbounded", discard: true }
    )

  /** Each entry at its time, or as soon as the one before it is over; what would come after the end does not come. */
  private inTime<A, E>(
    plan: Plan,
    schedule: FaultSchedule.Schedule<A>,
    play: (entry: FaultSchedule.Entry<A>) => Effect.Effect<void, E>
  ): Effect.Effect<void, E> {
    const startedAt = this.history.now()
    return Effect.forEach(
      schedule,
      (entry) =>
        Effect.suspend(() => {
          const sinceStart = this.history.now() - startedAt
          if (sinceStart > plan.durationMillis) return Effect.void
          return Effect.andThen(Effect.sleep(Math.max(0, entry.atMillis - sinceStart)), play(entry))
        }),
      { discard: true }
    )
  }

  count(kind: Kind, where: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    this.history.add(where, `${kind} has hit`)
  }

  private inNetwork(lane: Lane, fault: NetworkFault, forMillis: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      if (!(yield* until(() => lane.isReady, READY_WITHIN_MILLIS))) {
        return this.history.add(lane.name, `${fault.kind} passes by: the connection is not ready`)
      }
      const { endings, life } = lane
      const injectedAt = this.history.now()
      lane.trouble(JSON.stringify(fault.faults))
      if (fault.renews !== undefined) yield* cutAll(lane, fault.renews)
      const [first, ...others] = yield* Effect.forEach(fault.faults, lane.proxy.inject)
      if (first === undefined) return
      const hit = Effect.map(first.awaitHit, () => lane.isReady || lane.endings > endings)
      const hasHit = yield* Effect.raceFirst(hit, Effect.as(Effect.sleep(HIT_WITHIN_MILLIS), false))
      const hitAt = this.history.now()
      yield* Effect.sleep(forMillis)
      yield* Effect.forEach([first, ...others], (injection: FaultProxy.Injection) => injection.heal)
      lane.calm(`${fault.kind} is over`)
      if (!hasHit) return
      // A corruption is noticed at once; waiting longer would only give others time to end the session.
      const patience = fault.kind === "corrupt" ? NOTICED_WITHIN_MILLIS : ENDS_WITHIN_MILLIS
      const hasEnded = yield* until(() => lane.endings > endings, patience)
      if (hasEnded || !fault.endsSession) this.count(fault.kind, lane.name)
      if (fault.kind === "blackHole") this.silencedUntil.set(lane, hitAt + forMillis + ENDS_WITHIN_MILLIS)
      if (fault.kind === "corrupt") this.checkCorruption(lane, life, injectedAt, hitAt)
    })
  }

  /**
   * Corruption ends the session by itself. One that went on was silent for its callers, until the health check (or, with
   * nothing else to end it, nobody) ended it. It may also have hit none but leases; but then the connection replies.
   *
   * Over TLS silence is right where the length of a record was changed: the rest of that record is waited for.
   */
  private checkCorruption(lane: Lane, life: number, injectedAt: number, hitAt: number): void {
    if (this.server.tls !== undefined) return
    const { at, kind } = lane.lastEnd
    const serverWorks = this.lanes.some((other) => other !== lane && other.answeredAt > hitAt + 2 * SILENT_MILLIS)
    const isSilenced = (this.silencedUntil.get(lane) ?? 0) > injectedAt
    const othersDid = lane.life !== life || this.serverTroubleUntil > injectedAt || isSilenced || !serverWorks
    const wentOn = at > injectedAt ? at > hitAt && kind === "health-check" : lane.answeredAt < hitAt + SILENT_MILLIS
    // Calls of the others had replies meanwhile: so neither the server nor our own event loop was held up all the time.
    if (othersDid || !wentOn || this.history.heldUpSince(hitAt) > HELD_UP_MILLIS) return
    this.onBroken(lane, "wrongReplies", "the session went on after a corruption, and answered nothing")
  }

  private atServer(fault: ServerFault, forMillis: number): Effect.Effect<void, RedisServer.RedisServerError> {
    const strike = Effect.gen({ self: this }, function* () {
      if (!(yield* until(() => this.lanes.some((lane) => lane.isReady), READY_WITHIN_MILLIS))) return
      const ready = this.lanes.filter((lane) => lane.isReady)
      const endings = ready.map((lane) => lane.endings)
      this.serverTroubleUntil = Infinity
      for (const lane of this.lanes) lane.trouble(`server: ${fault}`)
      yield* this.doToServer(fault, forMillis)
      for (const lane of this.lanes) lane.calm(`server: ${fault} is over`)
      this.serverTroubleUntil = this.history.now()
      const hasEnded = () => ready.some((lane, index) => lane.endings > (endings[index] ?? 0))
      if (fault === "pause" || (yield* until(hasEnded, 500))) this.count(fault, "server")
    })
    return this.serverLock.withPermit(strike)
  }

  private doToServer(fault: ServerFault, forMillis: number): Effect.Effect<void, RedisServer.RedisServerError> {
    const { server } = this
    switch (fault) {
      case "clientKill":
        return Effect.asVoid(
          server.commands([
            ["CLIENT", "KILL", "TYPE", "pubsub"],
            ["CLIENT", "KILL", "TYPE", "normal"]
          ])
        )
      case "pause":
        return server.pause.pipe(Effect.andThen(Effect.sleep(forMillis * PAUSE_FACTOR)), Effect.ensuring(server.resume))
      case "stop":
        return server.stop.pipe(Effect.andThen(Effect.sleep(forMillis)), Effect.andThen(server.start))
      case "kill":
        return server.kill.pipe(Effect.andThen(Effect.sleep(forMillis)), Effect.andThen(server.start))
    }
  }

  private reopen(index: number, forMillis: number): Effect.Effect<void> {
    const lane = this.lanes[index]
    if (lane === undefined) return Effect.void
    return Effect.gen({ self: this }, function* () {
      if (!(yield* lane.shut)) this.onBroken(lane, "unsettled", "a close did not end in time")
      yield* Effect.sleep(forMillis)
      yield* lane.open
    })
  }
}

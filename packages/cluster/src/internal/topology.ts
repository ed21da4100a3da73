/**
 * The topology worker: asks for the map when the refresher says so, and starts and ends nodes as the map says. Nobody's call
 * waits for it. It owns nothing: if it crashes, the next one goes on with the same state.
 *
 * @internal
 */
import { ConnectionError, RedisError } from "@relive/core/RedisError"
import type { Service } from "@relive/core/RedisService"
import * as Process from "@relive/otp/Process"
import type { SupervisorRef } from "@relive/otp/Supervisor"
import type * as ChildSpec from "@relive/otp/ChildSpec"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import { lookup } from "node:dns/promises"
import type { Address, Topology } from "../ClusterTopology.ts"
import { addressText } from "./addresses.ts"
import { mergeViews, signatureOf } from "./adopt.ts"
import type { Judged } from "./adopt.ts"
import type { ClusterNode, Place } from "./node.ts"
import type { Ask } from "./refresher.ts"
import type { ClusterState } from "./state.ts"
import { isName, readEpochs, readTopology } from "./topologyReply.ts"

/** A node has so long to say what it knows. */
const QUESTION_MILLIS = 500
/** After so long the next seed is asked, too. */
const HEAD_START_MILLIS = 200
const LOOK_FOR_SEEDS_MILLIS = 10
/** Silence is looked for so often. */
const LOOK_MILLIS = 250
/** A node that has been silent for so long is not asked. */
const QUIET_MILLIS = 400

/** Makes the child spec of a place. */
export type PlaceSpec = (place: Place) => ChildSpec.ChildSpec<unknown>

/** The reply of a node: a view, or why there is none. */
interface Said {
  readonly from: ClusterNode
  readonly service: Service
  readonly askedAt: number
  readonly view: Topology | undefined
  readonly problem: string
  readonly error: RedisError | undefined
}

const serviceOf = (node: ClusterNode): Service | undefined => (node.primary.running ?? node.read.running)?.service

const isAskable = (node: ClusterNode): boolean => {
  const connection = (node.primary.running ?? node.read.running)?.connection
  return connection?.state === "ready" && connection.silentMillis < QUIET_MILLIS
}

export class TopologyWorker {
  private readonly state: ClusterState
  private readonly spec: PlaceSpec
  private supervisor: SupervisorRef | undefined = undefined

  constructor(state: ClusterState, spec: PlaceSpec) {
    this.state = state
    this.spec = spec
  }

  /** The supervisor of the nodes has started. */
  attach(supervisor: SupervisorRef): void {
    this.supervisor = supervisor
    this.state.topologyBell.ring()
  }

  detach(): void {
    this.supervisor = undefined
  }

  /** Runs until it is interrupted. */
  readonly run: Effect.Effect<never, never, Process.Self> = Effect.forever(Effect.suspend(() => this.step()))

  private step(): Effect.Effect<void, never, Process.Self> {
    const { state } = this
    return Effect.gen({ self: this }, function* () {
      const now = state.now()
      const { end, next, start } = state.reconcile(now)
      for (const place of start) yield* this.start(place)
      for (const place of end) yield* this.end(place)
      state.lookForSilence()
      const ask = state.refresher.take(state.now())
      if (ask !== undefined) yield* Process.fork(this.refresh(ask), { label: "refresh" })
      const wakeAt = Math.min(next, state.refresher.wakeAt, state.now() + LOOK_MILLIS)
      yield* state.topologyBell.wait(wakeAt - state.now())
    })
  }

  // -------------------------------------------------------------------------------------------------------------- nodes

  private start(place: Place): Effect.Effect<void> {
    const supervisor = this.supervisor
    if (supervisor === undefined || this.state.closing) return Effect.void
    place.changing = true
    return supervisor.startChild(this.spec(place)).pipe(
      Effect.map(({ process }) => {
        place.process = process
        process?.addObserver(() => this.state.ended(place))
      }),
      Effect.catch(() => Effect.sync(() => this.state.ended(place))),
      Effect.ensuring(
        Effect.sync(() => {
          place.changing = false
        })
      )
    )
  }

  /** Lets what was written finish, within `closeTimeout`, beside everything else. */
  private end(place: Place): Effect.Effect<void, never, Process.Self> {
    const { process } = place
    const supervisor = this.supervisor
    if (process === undefined || supervisor === undefined) return Effect.void
    place.changing = true
    // Nothing more goes there; what is queued goes where it belongs by then.
    place.running = undefined
    const terminate = Effect.ignore(supervisor.terminateChild(process)).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          place.changing = false
          place.failures = 0
          place.startAt = 0
          this.state.topologyBell.ring()
        })
      )
    )
    return Effect.asVoid(Process.fork(terminate, { label: "end of a node" }))
  }

  // ------------------------------------------------------------------------------------------------------------- asking

  private refresh({ nodes, prefer, reason }: Ask): Effect.Effect<void> {
    const { state } = this
    return Effect.gen({ self: this }, function* () {
      state.refreshes.asked++
      state.refreshes.last = reason
      const told = state.refreshed.splice(0)
      const candidates = this.candidates(prefer)
      const causes: Array<Said> = []
      let believed = false
      for (let at = 0; at < candidates.length && at < nodes + 2 && !believed; at += nodes) {
        const said = yield* this.askAll(candidates.slice(at, at + nodes), reason)
        causes.push(...said)
        believed = yield* this.judge(said, reason)
      }
      if (!believed) {
        const said = yield* this.askSeeds(reason)
        causes.push(...said)
        believed = yield* this.judge(said, reason)
      }
      if (!believed) yield* this.failed(causes, reason)
      else this.failures = 0
      state.refresher.done(state.now(), !believed, state.isUnserved)
      if (state.table.covered < 16_384 && believed) state.trigger("uncovered")
      for (const tell of told) tell()
      state.topologyBell.ring()
    }).pipe(
      // No other event would begin the next one.
      Effect.onError(() => Effect.sync(() => state.refresher.done(state.now(), true, state.isUnserved)))
    )
  }

  /** Those that can be asked: the one that knows first, the others by chance. */
  private candidates(prefer: string | undefined): ReadonlyArray<ClusterNode> {
    const { random } = this.state
    const askable = [...this.state.nodes.values()].filter(isAskable).map((node) => ({ node, rank: random() }))
    const rank = (one: { readonly node: ClusterNode; readonly rank: number }) =>
      one.node.id === prefer ? -1 : one.rank
    return askable.sort((a, b) => rank(a) - rank(b)).map(({ node }) => node)
  }

  private ask(node: ClusterNode, service: Service): Effect.Effect<Said> {
    const { options } = this.state
    return Effect.suspend(() => {
      const askedAt = this.state.now()
      const base = { from: node, service, askedAt }
      return Effect.match(service.command(["CLUSTER", "SLOTS"], { timeout: QUESTION_MILLIS, retry: false }), {
        onFailure: (error): Said => ({ ...base, view: undefined, problem: error.message, error }),
        onSuccess: (reply): Said => {
          const took = this.state.now() - askedAt
          node.roundTrip = node.roundTrip === undefined ? took : node.roundTrip * 0.7 + took * 0.3
          const view = readTopology("SLOTS", reply, {
            host: node.address.host,
            tls: options.connection.tls !== undefined,
            mapAddress: options.mapAddress
          })
          return typeof view === "string"
            ? { ...base, view: undefined, problem: view, error: undefined }
            : {
                ...base,
                view,
                problem: view.covered === 0 ? "it knows of no slots" : "it was not believed",
                error: undefined
              }
        }
      })
    })
  }

  private askAll(nodes: ReadonlyArray<ClusterNode>, reason: Ask["reason"]): Effect.Effect<ReadonlyArray<Said>> {
    const asked = nodes.flatMap((node) => {
      const service = serviceOf(node)
      return service === undefined ? [] : [Effect.tap(this.ask(node, service), (said) => this.hear(said, reason))]
    })
    return Effect.all(asked, { concurrency: "unbounded" })
  }

  /** Puts a view in force as soon as it is there. */
  private hear(said: Said, reason: Ask["reason"]): Effect.Effect<void> {
    return Effect.sync(() => {
      const { from, view } = said
      if (view !== undefined && this.state.adopt(view, from.id, said.askedAt, reason)) this.believed.add(said)
    })
  }

  private readonly believed = new WeakSet<Said>()

  /** Whether any view is in force now. Views that contradict each other are judged by their owners' config epochs. */
  private judge(all: ReadonlyArray<Said>, reason: Ask["reason"]): Effect.Effect<boolean> {
    const good = all.filter((said) => this.believed.has(said))
    const [first] = good
    if (first?.view === undefined) return Effect.succeed(false)
    const signature = signatureOf(first.view)
    if (good.every(({ view }) => view === undefined || signatureOf(view) === signature)) return Effect.succeed(true)
    const judged = good.flatMap((said) => {
      if (said.view === undefined) return []
      const { service, view } = said
      const epochs = Effect.map(
        service.command(["CLUSTER", "NODES"], { timeout: QUESTION_MILLIS, retry: false }),
        (text) => readEpochs(String(text))
      )
      return [Effect.map(epochs, (epochs): Judged => ({ view, epochs }))]
    })
    return Effect.match(Effect.all(judged, { concurrency: "unbounded" }), {
      onFailure: () => true,
      onSuccess: (views) => {
        const askedAt = Math.min(...good.map((said) => said.askedAt))
        this.state.adopt(mergeViews(views), "judged", askedAt, reason)
        return true
      }
    })
  }

  // -------------------------------------------------------------------------------------------------------------- seeds

  /** The seeds, one after the other with a head start for each, until one has a view. */
  private askSeeds(reason: Ask["reason"]): Effect.Effect<ReadonlyArray<Said>> {
    const said: Array<Said> = []
    const { seeds } = this.state.options
    return Effect.gen({ self: this }, function* () {
      const addresses: Array<{ readonly address: Address; readonly name: string | undefined }> = []
      const found = yield* Effect.all(seeds.map(resolve), { concurrency: "unbounded" })
      for (const list of found) addresses.push(...list)
      let answered = false
      const one = (index: number) =>
        Effect.suspend(() => {
          const seed = addresses[index]
          if (answered || seed === undefined || this.state.closing) return Effect.void
          const node = this.state.nodeAt(seed.address)
          node.hostname ??= seed.name
          this.state.need(node)
          return Effect.flatMap(this.serviceSoon(node), (service) => {
            if (service === undefined) return Effect.void
            return Effect.flatMap(this.ask(node, service), (answer) => {
              said.push(answer)
              answered ||= answer.view !== undefined && answer.view.covered > 0
              return this.hear(answer, reason)
            })
          })
        })
      // Each begins when its head start is over, or the one before it has failed; all end with the first view.
      const all = addresses.map((_, index) => Effect.delay(one(index), index * HEAD_START_MILLIS))
      const enough: Effect.Effect<void> = Effect.suspend(() =>
        answered ? Effect.void : Effect.andThen(Effect.sleep(LOOK_FOR_SEEDS_MILLIS), enough)
      )
      yield* Effect.raceFirst(Effect.all(all, { concurrency: "unbounded", discard: true }), enough)
      return said
    })
  }

  /** Its service, as soon as it is started. */
  private serviceSoon(node: ClusterNode): Effect.Effect<Service | undefined> {
    const look: Effect.Effect<Service | undefined> = Effect.suspend(() => {
      const service = serviceOf(node)
      if (service !== undefined || this.state.closing) return Effect.succeed(service)
      return Effect.andThen(Effect.sleep(2), look)
    })
    return Effect.timeoutOrElse(look, { duration: QUESTION_MILLIS, orElse: () => Effect.succeed(undefined) })
  }

  /** The number of failures in a row: only the first one is logged. */
  private failures = 0

  /** No view could be had, or none was believed. */
  private failed(causes: ReadonlyArray<Said>, reason: Ask["reason"]): Effect.Effect<void> {
    const { state } = this
    if (state.closing) return Effect.void
    state.refreshes.failed++
    const told = causes.map(({ from, problem }) => ({ node: addressText(from.address), cause: problem }))
    PubSub.publishUnsafe(state.events, { _tag: "RefreshFailed", reason, causes: told })
    if (state.topology === undefined && causes.length > 0) {
      const refusals = causes.map(refusalOf)
      const [first] = refusals
      if (first !== undefined && refusals.every((refusal) => refusal !== undefined)) state.refuse(first)
    }
    if (state.topology === undefined) state.unreached(unreachedBy(state.options.connection.address, told))
    if (this.failures++ > 0) return Effect.void
    const list = told.map(({ cause, node }) => `${node}: ${cause}`).join("; ")
    return Effect.logWarning(
      `Redis cluster: no node could tell the map (${reason}): ${list || "nobody could be asked"}`
    )
  }
}

/** The failure of a start that waits for the map. */
const unreachedBy = (
  address: string,
  told: ReadonlyArray<{ readonly node: string; readonly cause: string }>
): RedisError => {
  const list = told.map(({ cause, node }) => `${node}: ${cause}`).join("; ")
  const detail = `no node of the cluster could tell its map: ${list || "none of its nodes could be dialled"}`
  return new RedisError({ reason: new ConnectionError({ kind: "connect", delivery: "unsent", address, detail }) })
}

/** Why a node will say the same next time: it refuses us, or is no node of a cluster. */
const refusalOf = ({ error, from }: Said): RedisError | undefined => {
  const { reason } = error ?? {}
  if (reason?._tag === "ConnectionError" && reason.kind === "handshake") return error
  if (reason?._tag !== "ReplyError") return undefined
  const isPlain = /cluster support disabled/i.test(reason.message)
  if (!isPlain && reason.code !== "NOPERM" && reason.code !== "NOAUTH") return undefined
  const detail = isPlain
    ? "it is no node of a cluster (cluster support disabled): use Redis.layer for a single server"
    : `CLUSTER SLOTS was refused: ${reason.message}`
  return new RedisError({
    reason: new ConnectionError({
      kind: "handshake",
      delivery: "unsent",
      address: addressText(from.address),
      detail,
      cause: reason
    })
  })
}

/** All addresses of a seed, and its name, for certificates. */
const resolve = (
  seed: Address
): Effect.Effect<ReadonlyArray<{ readonly address: Address; readonly name: string | undefined }>> => {
  if (!isName(seed.host)) return Effect.succeed([{ address: seed, name: undefined }])
  return Effect.match(
    Effect.tryPromise(() => lookup(seed.host, { all: true })),
    {
      onFailure: () => [{ address: seed, name: seed.host }],
      onSuccess: (found) =>
        found.map(({ address }) => ({ address: { host: address, port: seed.port }, name: seed.host }))
    }
  )
}

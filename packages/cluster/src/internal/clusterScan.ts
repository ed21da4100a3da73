/**
 * All keys of a cluster: walks node after node, as the machine `scanPass` says, until each slot is walked.
 *
 * Each page is one transaction, `CLUSTER NODES` and `SCAN`, so that it is known which slots the node had at that page. Every
 * key that exists from the beginning to the end is seen, also when slots move, nodes fail over, or a slot stays open since
 * nobody ends its resharding. A walk that fails begins again, so a key can come more than once.
 *
 * @internal
 */
import { ClusterError, RedisError } from "@relive/core/RedisError"
import type { ScanOptions } from "@relive/core/Redis"
import type { CallOptions, PipelineReply } from "@relive/core/RedisService"
import * as Resp from "@relive/core/Resp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { hashTag } from "../ClusterTopology.ts"
import type { Address } from "../ClusterTopology.ts"
import type { ClusterNode, Running } from "./node.ts"
import { lacks, readAddress, readOwners, readOwnSlots, ScanPass } from "./scanPass.ts"
import type { OwnSlots } from "./scanPass.ts"
import { slotOf } from "./slots.ts"
import type { ClusterState } from "./state.ts"

/** The wait before it is looked again for a node to walk, or a page is asked for again, in milliseconds. */
const PAUSE_MILLIS = 50

/** Keys that a page looks at, unless the caller says so: the server's own ten are few beside `CLUSTER NODES`. */
const COUNT = 250

type Key = string | Uint8Array

/** The walk that is under way. */
interface Walk {
  readonly node: ClusterNode
  readonly running: Running
  /** The server's process and the session by which it was found: a cursor means nothing to another process. */
  readonly runId: string
  readonly session: number
  readonly cursor: string
  readonly own: OwnSlots | undefined
}

const argumentsOf = (options: ScanOptions): ReadonlyArray<string | number | Uint8Array> => [
  ...(options.match === undefined ? [] : ["MATCH", options.match]),
  ...["COUNT", options.count ?? COUNT],
  ...(options.type === undefined ? [] : ["TYPE", options.type])
]

const text = (value: PipelineReply | undefined): string =>
  value instanceof Uint8Array ? new TextDecoder().decode(value) : String(value)

/** The one slot that a pattern can match, when it has a hash tag without wildcards. */
const slotOfPattern = (match: string | Uint8Array | undefined): number | undefined => {
  if (typeof match !== "string") return undefined
  const open = match.indexOf("{")
  const tag = hashTag(match)
  const isPlain = open >= 0 && tag !== match && !/[*?[\]\\]/.test(match.slice(0, open) + tag)
  return isPlain ? slotOf(`{${tag}}`) : undefined
}

const isKey = (value: Resp.Reply): value is Key => typeof value === "string" || value instanceof Uint8Array

/** Refusals of a server that may serve soon. */
const passing: ReadonlySet<string> = new Set(["LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "READONLY"])

/** Whether a failure may be another one, or none, in a moment. */
const isPassing = ({ reason }: RedisError): boolean => {
  if (reason instanceof Resp.ReplyError) return passing.has(reason.code)
  if (reason._tag === "TransactionAborted") return reason.queueErrors.every(({ code }) => passing.has(code))
  return reason._tag === "ConnectionError" || reason._tag === "TimeoutError" || reason._tag === "ClusterError"
}

const shownSlots = (slots: ReadonlyArray<number>): string => {
  const shown = slots.slice(0, 5).join(", ")
  return slots.length > 5 ? `${shown} and ${slots.length - 5} more` : shown
}

/** A page of keys, and whether more is to come. */
type Step = readonly [ReadonlyArray<Key>, Option.Option<undefined>]

const none: Step = [[], Option.some(undefined)]

/** One scan: plain mutable state, stepped by one fiber. */
class ClusterScan {
  private readonly state: ClusterState
  private readonly options: CallOptions
  private readonly args: ReadonlyArray<string | number | Uint8Array>
  private readonly timeoutMillis: number
  private readonly pass: ScanPass
  private walk: Walk | undefined = undefined
  /** The addresses of nodes that are not on the map, by their ids. */
  private readonly strangers = new Map<string, Address>()
  /** Since when no page has come, and since when walks have ended without a slot that is walked. */
  private noPageSince: number | undefined = undefined
  private inVainSince: number | undefined = undefined
  private lastError: RedisError | undefined = undefined
  private isInVain = false

  constructor(state: ClusterState, options: ScanOptions, timeoutMillis: number) {
    const { decode, retry, timeout } = options
    this.state = state
    this.options = { decode, retry, timeout }
    this.args = argumentsOf(options)
    this.timeoutMillis = timeoutMillis
    const only = slotOfPattern(options.match)
    this.pass = new ScanPass(only === undefined ? undefined : [only])
  }

  readonly step: Effect.Effect<Step, RedisError> = Effect.suspend(() => {
    if (this.isInVain) {
      this.isInVain = false
      return this.pauseSince((this.inVainSince ??= this.state.now()))
    }
    const walk = this.walk?.running.connection.state === "ready" ? this.walk : (this.choose() ?? this.walk)
    if (walk === undefined) return Effect.andThen(this.lookAtSources, this.pause)
    return Effect.matchEffect(this.page(walk), {
      onFailure: (error) => this.failed(walk, error),
      onSuccess: (replies) => this.take(walk, replies)
    })
  })

  /** The next node to walk that is up, or at least has a connection; others are started. */
  private choose(): Walk | undefined {
    const { pass, state } = this
    const nodes = pass.next(
      (slot) => state.table.ownerOf(slot),
      (id) => state.nodes.get(id) ?? this.strangerOf(id)
    )
    for (const node of nodes) if (node.primary.running === undefined) state.need(node)
    const node = nodes.find(({ primary }) => primary.isReady) ?? nodes.find(({ primary }) => primary.running)
    const running = node?.primary.running
    if (node === undefined || running === undefined) return undefined
    return { node, running, runId: "", session: -1, cursor: "0", own: undefined }
  }

  private page(walk: Walk): Effect.Effect<ReadonlyArray<PipelineReply>, RedisError> {
    const { cursor, node, running } = walk
    // One without slots is kept for as long as it is needed.
    this.state.need(node)
    const scan = ["SCAN", cursor, ...this.args]
    const commands = [["CLUSTER", "NODES"], scan]
    // At the start of a session it is asked whose it is.
    if (walk.session !== running.connection.status.sessions) commands.push(["INFO", "server"])
    return running.service.transaction(commands, this.options)
  }

  /** No page has come: it is asked for again, or the next walk is over the node that has the slots then. */
  private failed(walk: Walk, error: RedisError): Effect.Effect<Step, RedisError> {
    if (!isPassing(error)) return Effect.fail(error)
    this.lastError = error
    this.noPageSince ??= this.state.now()
    const isThere = walk.node.primary.running === walk.running && this.state.ownersNow.includes(walk.node)
    this.walk = isThere ? walk : undefined
    return this.pauseSince(this.noPageSince)
  }

  private take(walk: Walk, replies: ReadonlyArray<PipelineReply>): Effect.Effect<Step, RedisError> {
    const { pass } = this
    const [nodes, scanned, info] = replies
    const wrong = replies.find((reply) => reply instanceof Resp.ReplyError)
    if (wrong !== undefined) return this.failed(walk, new RedisError({ reason: wrong }))
    const told = text(nodes)
    const own = readOwnSlots(told, walk.own)
    const [next, page]: ReadonlyArray<Resp.Reply> = Array.isArray(scanned) ? scanned : []
    if (own === undefined || !Array.isArray(page)) {
      const odd = new Resp.DecodeError("schema", "The reply to CLUSTER NODES or SCAN is no list of nodes, or of keys")
      return Effect.fail(new RedisError({ reason: odd }))
    }
    const { sessions } = walk.running.connection.status
    // It ran in a later session than it was sent for: it is asked again, and whose session that is.
    if (info === undefined && sessions !== walk.session) return Effect.succeed(none)
    const runId = info === undefined ? walk.runId : (/run_id:(\S+)/.exec(text(info))?.[1] ?? "")
    const isFirst = walk.cursor === "0"
    if (own !== walk.own) this.meet(own, told)
    if (isFirst) {
      this.correct(walk.node, own, told)
      if (!pass.canUse(own)) return this.ended([], true)
      pass.begin(own)
    } else if (runId !== walk.runId) return this.ended([], true)
    if (!pass.page(own)) return this.ended([], true)
    this.noPageSince = undefined
    const keys = page.filter(isKey).filter((key) => pass.tells(slotOf(key)))
    const cursor = text(next)
    if (cursor !== "0") {
      this.walk = { ...walk, own, runId, session: sessions, cursor }
      return Effect.succeed([keys, Option.some(undefined)])
    }
    const { missing, open } = pass
    const halves = open.size
    this.correct(walk.node, own, told)
    return Effect.andThen(
      this.hear(pass.end()),
      Effect.suspend(() => {
        if (pass.missing.length < missing.length) this.inVainSince = undefined
        else this.inVainSince ??= this.state.now()
        return this.ended(keys, pass.missing.length === missing.length && pass.open.size <= halves)
      })
    )
  }

  /** A node that takes its first slots is not on the map yet. */
  private meet(own: OwnSlots, told: string): void {
    const { state, strangers } = this
    for (const id of new Set(own.targets.values())) {
      const address = state.nodes.has(id) ? undefined : readAddress(told, id)
      if (address !== undefined) strangers.set(id, state.options.mapAddress(address, { id, hostname: undefined }))
    }
  }

  private strangerOf(id: string): ClusterNode | undefined {
    const address = this.strangers.get(id)
    return address === undefined ? undefined : this.state.nodeAt(address)
  }

  /** The node says itself that others have slots that the table gives it. */
  private correct(node: ClusterNode, own: OwnSlots, told: string): void {
    const { pass, state } = this
    const lost = pass.missing.filter((slot) => state.table.ownerOf(slot) === node && lacks(own, slot))
    if (lost.length === 0) return
    const owners = readOwners(told)
    for (const slot of lost) {
      const to = state.nodes.get(owners[slot] ?? "")
      if (to === undefined || to === node) state.trigger("uncovered")
      else state.learn(slot, to)
    }
  }

  /** A walk is over. One in vain is followed by a pause. */
  private ended(keys: ReadonlyArray<Key>, inVain: boolean): Effect.Effect<Step, RedisError> {
    this.walk = undefined
    this.isInVain = inVain
    return Effect.succeed([keys, this.pass.missing.length === 0 ? Option.none() : Option.some(undefined)])
  }

  /** Asks nodes for their word on slots that are half walked from them. */
  private hear(sources: Iterable<string>): Effect.Effect<void> {
    return Effect.forEach(
      sources,
      (id) => {
        const node = this.state.nodes.get(id) ?? this.strangerOf(id)
        const service = node?.primary.running?.service
        if (service === undefined) return Effect.sync(() => this.pass.confirm(id, undefined))
        return Effect.match(service.command(["CLUSTER", "NODES"], { timeout: this.options.timeout }), {
          onFailure: () => this.pass.confirm(id, undefined),
          onSuccess: (reply) => this.pass.confirm(id, readOwnSlots(text(reply)))
        })
      },
      { discard: true }
    )
  }

  /** No node can be walked: half walked slots may be on another way by now. */
  private readonly lookAtSources: Effect.Effect<void> = Effect.suspend(() =>
    this.hear(new Set([...this.pass.open.values()].map(({ from }) => from)))
  )

  /** Nothing can be walked now. */
  private readonly pause: Effect.Effect<Step, RedisError> = Effect.suspend(() => {
    this.noPageSince ??= this.state.now()
    this.state.trigger("uncovered")
    return this.pauseSince(this.noPageSince)
  })

  private pauseSince(since: number): Effect.Effect<Step, RedisError> {
    if (this.state.closing || this.state.now() - since >= this.timeoutMillis) return Effect.fail(this.stuck())
    return Effect.delay(Effect.succeed(none), PAUSE_MILLIS)
  }

  /** Why it came no further, and what to do. */
  private stuck(): RedisError {
    const { pass, state } = this
    const { missing, open } = pass
    const ownerless = missing.filter((slot) => state.table.ownerOf(slot) === undefined)
    const [way] = open.values()
    const told = (): readonly [kind: "down" | "moving" | "uncovered", detail: string] => {
      if (state.closing) return ["down", "the cluster's client was closed while it scanned"]
      if (ownerless.length > 0) {
        return ["uncovered", `slots ${shownSlots(ownerless)} have no node, so their keys cannot be seen`]
      }
      if (way !== undefined) {
        return [
          "moving",
          `slots ${shownSlots([...open.keys()])} are open from node ${way.from} to ${way.to}, which cannot be walked: end the ` +
            "resharding (redis-cli --cluster fix), or let the cluster forget the node and close the slots (CLUSTER SETSLOT … STABLE)"
        ]
      }
      return [
        this.noPageSince === undefined ? "moving" : "down",
        `slots ${shownSlots(missing)} could not be walked: their nodes did not serve, or did not agree who has them`
      ]
    }
    const [kind, detail] = told()
    const last = this.lastError?.message
    return new RedisError({
      reason: new ClusterError({
        kind,
        delivery: "unsent",
        slot: missing[0] ?? -1,
        hops: 0,
        command: "SCAN",
        detail: `the scan came no further within its timeout: ${detail}${last === undefined ? "" : ` (last failure: ${last})`}`
      })
    })
  }
}

export const scanCluster = (state: ClusterState, options: ScanOptions = {}): Stream.Stream<Key, RedisError> => {
  const timeout = state.calls.timeoutMillis({ timeout: options.timeout })
  if (typeof timeout !== "number") return Stream.fail(timeout)
  return Stream.suspend(() => {
    const scan = new ClusterScan(state, options, timeout)
    return Stream.paginate(undefined, () => scan.step)
  })
}

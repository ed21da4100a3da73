/**
 * All keys of a cluster: walks the primaries one after the other, and remembers for each slot whether it has been walked.
 *
 * A walk yields only keys of slots that its node had when it began, and counts a slot as walked when the node still has it
 * at the end and is not handing it over. So a slot that moves, in whatever moment, is walked at its owner: every key that exists
 * from the beginning to the end is seen. What has been walked when a walk fails is walked again.
 *
 * @internal
 */
import { ConnectionError, RedisError } from "@relive/core/RedisError"
import type { ScanOptions } from "@relive/core/Redis"
import type { CallOptions, Service } from "@relive/core/RedisService"
import type * as Resp from "@relive/core/Resp"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { hashTag } from "../ClusterTopology.ts"
import type { ClusterNode } from "./node.ts"
import { SLOTS, slotOf } from "./slots.ts"
import type { ClusterState } from "./state.ts"

/** The wait before slots are looked at again that were not walked to the end, in milliseconds. */
const PAUSE_MILLIS = 50

type Key = string | Uint8Array

/** One walk over one node. */
interface Walk {
  readonly node: ClusterNode
  readonly service: Service
  readonly mine: Uint8Array
  readonly cursor: string
}

/** Where a pass is: what is walked, the walk that is under way, and since when nothing has come of it. */
interface Pass {
  readonly walked: Uint8Array
  readonly walk: Walk | undefined
  readonly stuckSince: number
}

const argumentsOf = (options: ScanOptions): ReadonlyArray<string | number | Uint8Array> => [
  ...(options.match === undefined ? [] : ["MATCH", options.match]),
  ...(options.count === undefined ? [] : ["COUNT", options.count]),
  ...(options.type === undefined ? [] : ["TYPE", options.type])
]

const callOptionsOf = ({ decode, retry, timeout }: ScanOptions): CallOptions => ({ decode, retry, timeout })

const text = (value: Resp.Reply | undefined): string =>
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

/** The slots that a node has now, and those that it is handing over or taking, by itself. */
const readOwn = (reply: string): Uint8Array => {
  const own = new Uint8Array(SLOTS)
  const line = reply
    .split("\n")
    .find(
      (one) =>
        / myself[, ]|,myself/.test(` ${one.split(" ")[2] ?? ""} `) || (one.split(" ")[2] ?? "").includes("myself")
    )
  for (const range of (line ?? "").trim().split(" ").slice(8)) {
    const open = /^\[(\d+)-[<>]-/.exec(range)
    if (open !== null) own[Number(open[1])] = 0
    else {
      const [from = 0, to = from] = range.split("-").map(Number)
      own.fill(1, from, to + 1)
    }
  }
  for (const [, slot] of (line ?? "").matchAll(/\[(\d+)-[<>]-/g)) own[Number(slot)] = 0
  return own
}

export const scanCluster = (state: ClusterState, options: ScanOptions = {}): Stream.Stream<Key, RedisError> => {
  const only = slotOfPattern(options.match)
  const timeout = state.calls.timeoutMillis({ timeout: options.timeout })
  if (typeof timeout !== "number") return Stream.fail(timeout)

  /** The next walk: over all slots of a primary that are not walked yet. */
  const begin = (walked: Uint8Array): Walk | undefined => {
    for (const node of state.ownersNow) {
      const service = node.primary.running?.service
      if (service === undefined) continue
      const mine = new Uint8Array(SLOTS)
      let any = false
      for (let slot = 0; slot < SLOTS; slot++) {
        if (walked[slot] === 1 || state.table.ownerOf(slot) !== node) continue
        mine[slot] = 1
        any = true
      }
      if (any) return { node, service, mine, cursor: "0" }
    }
    return undefined
  }

  const stuck = (): RedisError =>
    new RedisError({
      reason: new ConnectionError({
        kind: "disconnected",
        delivery: "unsent",
        address: state.options.connection.address,
        detail: "the scan came no further within its timeout: some slots have no node that serves them"
      })
    })

  /** Nothing can be walked now. */
  const pause = (pass: Pass) =>
    Effect.suspend(() => {
      const now = state.now()
      if (now - pass.stuckSince >= timeout || state.closing) return Effect.fail(stuck())
      state.trigger("uncovered")
      return Effect.delay(
        Effect.succeed([[] as ReadonlyArray<Key>, Option.some({ ...pass, walk: undefined })] as const),
        PAUSE_MILLIS
      )
    })

  const page = (pass: Pass, walk: Walk) =>
    Effect.matchEffect(walk.service.command(["SCAN", walk.cursor, ...argumentsOf(options)], callOptionsOf(options)), {
      // Its slots are not walked: the next walk is over the node that has them then.
      onFailure: () => pause(pass),
      onSuccess: (reply) => {
        if (!Array.isArray(reply) || !Array.isArray(reply[1])) return pause(pass)
        const keys = reply[1].filter(isKey).filter((key) => walk.mine[slotOf(key)] === 1)
        const cursor = text(reply[0])
        const next: Pass = { ...pass, stuckSince: state.now(), walk: { ...walk, cursor } }
        return cursor === "0" ? finish(pass, walk, keys) : Effect.succeed([keys, Option.some(next)] as const)
      }
    })

  /** The end of a walk: finds the slots that the node has had all the time. */
  const finish = (pass: Pass, walk: Walk, keys: ReadonlyArray<Key>) =>
    Effect.match(walk.service.command(["CLUSTER", "NODES"], { timeout: options.timeout }), {
      onFailure: () => [keys, Option.some({ ...pass, walk: undefined })] as const,
      onSuccess: (reply) => {
        const own = readOwn(String(reply))
        const walked = pass.walked
        let complete = true
        for (let slot = 0; slot < SLOTS; slot++) {
          if (walk.mine[slot] !== 1) continue
          if (own[slot] === 1) walked[slot] = 1
          else complete = false
        }
        if (!complete) state.trigger("moved", walk.node.id)
        const next: Pass = { walked, walk: undefined, stuckSince: state.now() }
        const isOver = walked.every((one) => one === 1)
        return [keys, isOver ? Option.none<Pass>() : Option.some(next)] as const
      }
    })

  const start = Effect.sync((): Pass => {
    const walked = new Uint8Array(SLOTS)
    if (only !== undefined) {
      walked.fill(1)
      walked[only] = 0
    }
    return { walked, walk: undefined, stuckSince: state.now() }
  })

  return Stream.unwrap(
    Effect.map(start, (first) =>
      Stream.paginate(first, (pass: Pass) =>
        Effect.suspend(() => {
          const walk = pass.walk ?? begin(pass.walked)
          return walk === undefined ? pause(pass) : page(pass, walk)
        })
      )
    )
  )
}

/**
 * The meaning of a refusal: where the call goes next, or how long it waits. Pure.
 *
 * Each of these errors proves that nothing of the call has run, so writes follow them, too. The one exception is an error that
 * comes out of a script, which may have written before: of a script only what the server itself says before it runs one is
 * followed. There is no limit of hops. The deadline is the limit, and waits that grow keep two servers that name one another
 * from being asked in a circle.
 *
 * @internal
 */
import type { ReplyError } from "@relive/core/Resp"
import type { Address } from "../ClusterTopology.ts"
import { readEndpoint } from "./addresses.ts"
import { SLOTS } from "./slots.ts"

/**
 * - `moved`: this slot belongs to that node, from now on
 * - `ask`: this one call is for that node, with `ASKING`
 * - `tryAgain`: some of its keys are on their way
 * - `down`: the cluster, or this node, serves nothing now: ask the node that the table names then
 */
export type Refusal =
  | { readonly _tag: "moved"; readonly slot: number; readonly to: Address }
  | { readonly _tag: "ask"; readonly slot: number; readonly to: Address }
  | { readonly _tag: "tryAgain" }
  | { readonly _tag: "down" }
  | { readonly _tag: "unblocked" }

const named = /^(?:MOVED|ASK) (\d{1,5}) (\S+)$/

/** The refusals that only a server words so; a script may return any other text. */
const beforeScripts: ReadonlySet<string> = new Set([
  "TRYAGAIN Multiple keys request during rehashing of slot",
  "CLUSTERDOWN The cluster is down",
  "CLUSTERDOWN Hash slot not served",
  "CLUSTERDOWN The cluster is down and only accepts read commands",
  "LOADING Redis is loading the dataset in memory",
  "LOADING Valkey is loading the dataset in memory"
])

const readNamed = (message: string, saidBy: string): { readonly slot: number; readonly to: Address } | undefined => {
  const match = named.exec(message)
  const slot = Number(match?.[1])
  const to = match?.[2] === undefined ? undefined : readEndpoint(match[2], saidBy)
  return to === undefined || !(slot < SLOTS) ? undefined : { slot, to }
}

/** The name of a command that runs a script or a function. */
const script = /^(?:EVAL|EVALSHA|FCALL)(?:_RO)?$/

/** The call that was refused, as far as it matters. */
export interface Refused {
  /** Its name, in upper case. */
  readonly command: string
  /** Its slot, -1 when it has none. */
  readonly slot: number
  /** Whether it blocks: then it may be told that it is unblocked. */
  readonly blocking?: boolean | undefined
}

/** The refusal in an error, said by a node with this host; `undefined` when the error is the caller's. */
export const readRefusal = (error: ReplyError, call: Refused, saidBy: string): Refusal | undefined => {
  const isScript = script.test(call.command)
  switch (error.code) {
    case "MOVED":
    case "ASK": {
      const told = readNamed(error.message, saidBy)
      // A slot that is not the call's is no redirect of it.
      if (told === undefined || (call.slot >= 0 && told.slot !== call.slot)) return undefined
      return { _tag: error.code === "MOVED" ? "moved" : "ask", ...told }
    }
    case "TRYAGAIN":
      return isScript && !beforeScripts.has(error.message) ? undefined : { _tag: "tryAgain" }
    case "CLUSTERDOWN":
    case "LOADING":
      return isScript && !beforeScripts.has(error.message) ? undefined : { _tag: "down" }
    case "MASTERDOWN":
    case "READONLY":
      return isScript || / script: /.test(error.message) ? undefined : { _tag: "down" }
    case "UNBLOCKED":
      return call.blocking === true ? { _tag: "unblocked" } : undefined
    default:
      return undefined
  }
}

const waits: Record<Refusal["_tag"], { readonly free: number; readonly first: number; readonly most: number }> = {
  moved: { free: 1, first: 2, most: 100 },
  ask: { free: 1, first: 2, most: 100 },
  tryAgain: { free: 0, first: 2, most: 50 },
  down: { free: 0, first: 10, most: 200 },
  unblocked: { free: 1, first: 2, most: 100 }
}

/**
 * The wait of a call after its refusal number `hops` in a row (the first is 1), in milliseconds; `random` is from [0, 1).
 * The first redirect is followed at once.
 */
export const waitMillis = (tag: Refusal["_tag"], hops: number, random: number): number => {
  const { first, free, most } = waits[tag]
  if (hops <= free) return 0
  const grown = Math.min(first * 2 ** Math.min(hops - free - 1, 20), most)
  return Math.min(grown * (0.8 + 0.4 * random), most)
}

/**
 * Commands without keys in a cluster: which nodes they are for, and how the replies of several become one. Pure, by the
 * servers' own command tips, with these differences: what describes one server (`INFO`, `CONFIG GET`, `PING`) is asked of one,
 * unless the caller asks each; and all nodes are all primaries, since replicas get from them what must be everywhere.
 *
 * @internal
 */
import * as CommandTable from "@relive/core/CommandTable"
import type { PipelineReply } from "@relive/core/RedisService"
import * as Resp from "@relive/core/Resp"

export type Aggregate = (replies: ReadonlyArray<PipelineReply>) => PipelineReply

const isFailure = (reply: PipelineReply): boolean =>
  reply instanceof Resp.ReplyError || reply instanceof Resp.DecodeError || reply instanceof Resp.ReplyLimitError

/** Fails as the first that failed, so `of` sees replies alone. */
const all =
  (of: (replies: ReadonlyArray<PipelineReply>) => PipelineReply): Aggregate =>
  (replies) =>
    replies.find(isFailure) ?? of(replies)

const numbers = (replies: ReadonlyArray<PipelineReply>): ReadonlyArray<number> =>
  replies.map((reply) => (typeof reply === "number" ? reply : Number(reply)))

/** Of numbers, or of arrays of numbers place by place. */
const byPlace = (of: (values: ReadonlyArray<number>) => number): Aggregate =>
  all((replies) => {
    const first = replies[0]
    if (!Array.isArray(first)) return of(numbers(replies))
    return first.map((_, i) => of(numbers(replies.map((reply) => (Array.isArray(reply) ? (reply[i] ?? 0) : 0)))))
  })

const concat: Aggregate = all((replies) => {
  if (!replies.every((reply) => Array.isArray(reply))) return replies[0] ?? null
  return replies.flatMap((reply) => (Array.isArray(reply) ? reply : []))
})

const byPolicy: Record<Exclude<CommandTable.ResponsePolicy, "special">, Aggregate> = {
  one_succeeded: (replies) => replies.find((reply) => !isFailure(reply)) ?? replies[0] ?? null,
  all_succeeded: all((replies) => replies[0] ?? null),
  agg_logical_and: byPlace((values) => (values.every((value) => value !== 0) ? 1 : 0)),
  agg_logical_or: byPlace((values) => (values.some((value) => value !== 0) ? 1 : 0)),
  agg_min: byPlace((values) => Math.min(...values)),
  agg_max: byPlace((values) => Math.max(...values)),
  agg_sum: byPlace((values) => values.reduce((sum, value) => sum + value, 0))
}

/** Any key will do; the first nodes may be empty. */
const anyValue: Aggregate = all((replies) => replies.find((reply) => reply !== null) ?? null)

const nameOf = (command: Resp.Command): string => {
  const [name, more] = command
  const words = [name, more].map((word) => (typeof word === "string" ? word.toUpperCase() : ""))
  return words[0] === "CONFIG" ? words.join(" ") : (words[0] ?? "")
}

/** Asked of one node, whatever the tips say. */
const one: ReadonlySet<string> = new Set(["PING", "INFO", "CONFIG GET", "LATENCY", "MEMORY", "SLOWLOG", "TIME", "ECHO"])

/** The way in which the replies of all primaries become one; `undefined` for a command that one node serves. */
export const aggregateOf = (command: Resp.Command): Aggregate | undefined => {
  const reach = CommandTable.reachOf(command)
  if (reach !== "allNodes" && reach !== "allPrimaries") return undefined
  const name = nameOf(command)
  if (one.has(name)) return undefined
  if (name === "RANDOMKEY") return anyValue
  const response = CommandTable.policyOf(command)?.response
  if (response === undefined) return concat
  return response === "special" ? undefined : byPolicy[response]
}

/**
 * Commands over several slots, in parts: which may be split, into what, and how the replies become one. Pure.
 *
 * Only what promises nothing about its keys together is split: `MGET`, `EXISTS`, `TOUCH`, `DEL`, `UNLINK`, and `MSET` when
 * asked to. Two slots of one node are two parts all the same: servers refuse them together.
 *
 * @internal
 */
import type { PipelineReply } from "@relive/core/RedisService"
import * as Resp from "@relive/core/Resp"
import { slotOf } from "./slots.ts"

export type Split = "none" | "reads" | "all"

/** One command of the parts, and the places of its keys among those of the whole. */
export interface CommandPart {
  readonly slot: number
  readonly command: Resp.Command
  readonly places: ReadonlyArray<number>
}

export interface SplitCommand {
  readonly parts: ReadonlyArray<CommandPart>
  /** The whole reply from those of the parts, in their order. The first error is the whole's. */
  readonly join: (replies: ReadonlyArray<PipelineReply>) => PipelineReply
}

type Kind = "values" | "sum" | "ok"

const kinds: ReadonlyMap<string, Kind> = new Map([
  ["MGET", "values"],
  ["EXISTS", "sum"],
  ["TOUCH", "sum"],
  ["DEL", "sum"],
  ["UNLINK", "sum"],
  ["MSET", "ok"]
])

const nameOf = (command: Resp.Command): string => (typeof command[0] === "string" ? command[0].toUpperCase() : "")

const isFailure = (reply: PipelineReply): boolean =>
  reply instanceof Resp.ReplyError || reply instanceof Resp.DecodeError || reply instanceof Resp.ReplyLimitError

const unexpected = (name: string): Resp.DecodeError =>
  new Resp.DecodeError("schema", `A part of ${name} was not answered as it should`)

const joinValues =
  (name: string, parts: ReadonlyArray<CommandPart>, total: number) =>
  (replies: ReadonlyArray<PipelineReply>): PipelineReply => {
    const whole: Array<Resp.Reply> = Array.from({ length: total }, () => null)
    for (const [index, part] of parts.entries()) {
      const reply = replies[index] ?? null
      if (isFailure(reply)) return reply
      if (!Array.isArray(reply) || reply.length !== part.places.length) return unexpected(name)
      for (const [i, place] of part.places.entries()) whole[place] = reply[i] ?? null
    }
    return whole
  }

const joinSum =
  (name: string) =>
  (replies: ReadonlyArray<PipelineReply>): PipelineReply => {
    let sum = 0
    for (const reply of replies) {
      if (isFailure(reply)) return reply
      if (typeof reply !== "number") return unexpected(name)
      sum += reply
    }
    return sum
  }

const joinOk = (replies: ReadonlyArray<PipelineReply>): PipelineReply => replies.find(isFailure) ?? replies[0] ?? null

/** The parts of a command whose keys have several slots, by slot in the order of their first keys; `undefined` if it stays whole. */
export const splitCommand = (command: Resp.Command, split: Split): SplitCommand | undefined => {
  const name = nameOf(command)
  const kind = kinds.get(name)
  if (kind === undefined || split === "none" || (kind === "ok" && split !== "all")) return undefined
  const step = kind === "ok" ? 2 : 1
  if ((command.length - 1) % step !== 0 || command.length < 2) return undefined
  const bySlot = new Map<number, { args: Array<Resp.Argument>; places: Array<number> }>()
  for (let i = 1; i < command.length; i += step) {
    const slot = slotOf(command[i] ?? "")
    const part = bySlot.get(slot) ?? { args: [command[0] ?? ""], places: [] }
    bySlot.set(slot, part)
    part.args.push(...command.slice(i, i + step))
    part.places.push((i - 1) / step)
  }
  const parts = [...bySlot].map(([slot, { args, places }]) => ({ slot, command: args, places }))
  const total = (command.length - 1) / step
  return { parts, join: kind === "values" ? joinValues(name, parts, total) : kind === "sum" ? joinSum(name) : joinOk }
}

/**
 * The same command for each of its keys alone, which always has one owner: for a part that is told to try again because its
 * slot is on the move.
 */
export const singleKeys = (part: CommandPart, split: Split): ReadonlyArray<Resp.Command> | undefined => {
  const kind = kinds.get(nameOf(part.command))
  if (kind === undefined || split === "none" || part.places.length < 2) return undefined
  const step = kind === "ok" ? 2 : 1
  return part.places.map((_, i) => [part.command[0] ?? "", ...part.command.slice(1 + i * step, 1 + (i + 1) * step)])
}

/**
 * Several commands over several nodes as one call: a pipeline, a command whose keys have several slots, a command for every
 * primary. They are grouped by node, each group is one entry and one write, and the replies go to their places.
 *
 * Refused parts are sent again together, grouped by where they belong then, with `ASKING` before each that needs it. When
 * the connection of a group is lost, its reads are sent once more by the table of that moment, and its writes fail by themselves,
 * with an honest `delivery`, while the other groups have their replies. There is one deadline for all.
 *
 * @internal
 */
import * as CommandTable from "@relive/core/CommandTable"
import { findsNothing } from "@relive/core/RedisConnection"
import type { RoutedCall, RoutedPart } from "@relive/core/RedisConnection"
import { ClusterError, ConnectionError, RedisError, TimeoutError } from "@relive/core/RedisError"
import type { CallOptions, PipelineReply } from "@relive/core/RedisService"
import * as Resp from "@relive/core/Resp"
import * as Exit from "effect/Exit"
import type { ClusterNode } from "./node.ts"
import { singleKeys } from "./parts.ts"
import type { CommandPart, Split } from "./parts.ts"
import type { Refusal } from "./redirect.ts"
import { clusterError, uncoveredWay } from "./state.ts"
import type { ClusterState, Held, Rerouted, Way } from "./state.ts"

const { Flags } = CommandTable

/** An element that has no reply. */
export type Lost = ConnectionError | TimeoutError | ClusterError

export const isLost = (reply: PipelineReply | undefined): reply is Lost =>
  reply instanceof ConnectionError || reply instanceof TimeoutError || reply instanceof ClusterError

/** Whether the reason of a failed call can stand in the place of one element. */
export const isLostReason = (reason: RedisError["reason"]): reason is Lost =>
  reason instanceof ConnectionError || reason instanceof TimeoutError || reason instanceof ClusterError

/** One command of it: where it belongs, and what has become of it. */
export class Unit {
  readonly command: Resp.Command
  readonly name: string
  /** -1 when it has no keys. */
  readonly slot: number
  /** The one node that it is for, whatever the table says. */
  readonly pinned: ClusterNode | undefined
  /** The index of the caller's command, for errors. */
  readonly index: number
  readonly isRepeatable: boolean
  /** The part of a command over several slots that it is, if it can be taken apart further. */
  readonly part: CommandPart | undefined
  reply: PipelineReply | undefined = undefined
  hops = 0
  wasRepeated = false
  /** Where it was sent last, and whether to a replica. */
  at: ClusterNode | undefined = undefined
  atReplica = false
  /** Where it must go next. */
  way: Way | undefined = undefined
  refusal: Resp.ReplyError | undefined = undefined
  /** The parts it was taken apart into. */
  pieces: ReadonlyArray<Unit> | undefined = undefined

  constructor(
    command: Resp.Command,
    slot: number,
    flags: number,
    index: number,
    pinned?: ClusterNode | undefined,
    part?: CommandPart | undefined
  ) {
    this.command = command
    this.name = typeof command[0] === "string" ? command[0].toUpperCase() : "COMMAND"
    this.slot = slot
    this.index = index
    this.pinned = pinned
    this.part = part
    this.isRepeatable = (flags & Flags.repeatable) !== 0
  }
}

/** Where reads go, by the options of the call and of the cluster. */
export type ChooseReader = (slot: number, command: Resp.Command) => ClusterNode | ClusterError | undefined

interface Group {
  readonly node: ClusterNode | undefined
  readonly atReplica: boolean
  readonly units: Array<Unit>
}

/** A group that is under way. */
class Batch implements Rerouted {
  readonly units: ReadonlyArray<Unit>
  /** The unit of each command that is written; `undefined` for an `ASKING`. */
  readonly places: ReadonlyArray<Unit | undefined>
  part: RoutedPart | undefined = undefined
  private readonly gather: Gather

  constructor(gather: Gather, units: ReadonlyArray<Unit>, places: ReadonlyArray<Unit | undefined>) {
    this.gather = gather
    this.units = units
    this.places = places
  }

  readonly reroute = (): void => this.gather.reroute(this)

  readonly isMisplaced = (node: ClusterNode): boolean => this.gather.isMisplaced(this, node)
}

export class Gather {
  private readonly state: ClusterState
  private readonly units: ReadonlyArray<Unit>
  private readonly options: CallOptions | undefined
  private readonly split: Split
  private readonly reader: ChooseReader | undefined
  private readonly deadline: number
  private readonly timeoutMillis: number
  private readonly finish: (units: ReadonlyArray<Unit>) => void
  private readonly batches = new Set<Batch>()
  private pending = 0
  private over = false

  constructor(
    state: ClusterState,
    units: ReadonlyArray<Unit>,
    timeoutMillis: number,
    options: CallOptions | undefined,
    split: Split,
    reader: ChooseReader | undefined,
    finish: (units: ReadonlyArray<Unit>) => void
  ) {
    this.state = state
    this.units = units
    this.options = options
    this.split = split
    this.reader = reader
    this.timeoutMillis = timeoutMillis
    this.deadline = timeoutMillis === Infinity ? 0 : state.now() + Math.max(1, Math.ceil(timeoutMillis)) + 1
    this.finish = finish
  }

  /** Sends all of it. Returns what is wrong with a command: then nothing was sent. */
  start(): RedisError | undefined {
    this.pending = this.units.length
    const made = this.make(this.units)
    if (made instanceof RedisError) return made
    for (const [batch, group] of made) this.submit(batch, group)
    this.check()
    return undefined
  }

  /** The caller is gone: nothing that was not written is written any more. */
  readonly cancel = (): void => {
    this.over = true
    for (const batch of this.batches) batch.part?.call.takeBack()
  }

  // ------------------------------------------------------------------------------------------------------------ sending

  private group(units: ReadonlyArray<Unit>): ReadonlyArray<Group> {
    const groups = new Map<string, Group>()
    let keyless: ClusterNode | undefined
    for (const unit of units) {
      let node = unit.pinned ?? unit.way?.to
      let atReplica = false
      if (node === undefined && unit.slot >= 0) {
        const chosen =
          unit.isRepeatable && unit.hops === 0 && !unit.atReplica ? this.reader?.(unit.slot, unit.command) : undefined
        if (chosen instanceof ClusterError) {
          this.settle(unit, chosen)
          continue
        }
        atReplica = chosen?.role === "replica"
        node = chosen ?? this.state.table.ownerOf(unit.slot)
      }
      if (node === undefined && unit.slot < 0) node = keyless ??= this.someNode(units)
      const key = `${atReplica ? "read " : ""}${node?.id ?? ""}`
      const group = groups.get(key) ?? { node, atReplica, units: [] }
      groups.set(key, group)
      group.units.push(unit)
    }
    return [...groups.values()]
  }

  /** Commands without keys go along with the others. */
  private someNode(units: ReadonlyArray<Unit>): ClusterNode | undefined {
    const keyed = units.find((unit) => unit.slot >= 0)
    return (keyed === undefined ? undefined : this.state.table.ownerOf(keyed.slot)) ?? this.state.anyPrimary()
  }

  /** Encodes groups; nothing is submitted. */
  private make(units: ReadonlyArray<Unit>): ReadonlyArray<readonly [Batch, Group]> | RedisError {
    const now = this.state.now()
    const left = this.deadline === 0 ? Infinity : Math.max(1, this.deadline - now)
    const made: Array<readonly [Batch, Group]> = []
    for (const group of this.group(units)) {
      const commands: Array<Resp.Command> = []
      const places: Array<Unit | undefined> = []
      for (const unit of group.units) {
        if (unit.way?.asking === true) {
          commands.push(["ASKING"])
          places.push(undefined)
        }
        commands.push(unit.command)
        places.push(unit)
      }
      const batch = new Batch(this, group.units, places)
      const mayRepeat = this.options?.retry !== false && places.every((unit) => unit?.isRepeatable === true)
      const indexes = places.map((unit) => unit?.index ?? 0)
      const part = this.state.calls.part(commands, indexes, mayRepeat, left, this.options, (outcome) =>
        this.ended(batch, outcome)
      )
      if ("reason" in part) return part
      part.call.data = batch
      batch.part = part
      made.push([batch, group])
    }
    return made
  }

  private submit(batch: Batch, { atReplica, node, units }: Group): void {
    const call = batch.part?.call
    if (call === undefined) return
    if (node === undefined && this.state.topology !== undefined) {
      call.takeBack()
      this.state.trigger("uncovered")
      for (const unit of units) unit.way = uncoveredWay
      return this.resend(units)
    }
    this.batches.add(batch)
    for (const unit of units) {
      unit.at = node
      unit.atReplica ||= atReplica
    }
    const connection = atReplica ? node?.read.connection : node?.connection
    if (connection !== undefined) return connection.accept(call, false)
    if (node !== undefined) this.state.need(node)
    this.wait(call)
  }

  /** There is no connection for it yet: it waits where all wait, or fails as they do. */
  private wait(call: RoutedCall): void {
    const { refusing, shared, topology } = this.state
    if (refusing !== undefined && topology === undefined) return call.fail(refusing)
    shared.waiting.accept(call, false)
  }

  private again(units: ReadonlyArray<Unit>): void {
    if (this.over) return
    const made = this.make(units)
    if (made instanceof RedisError) {
      // It was encoded before: nothing can be wrong with it but the time.
      for (const unit of units) this.settle(unit, lostOf(made, unit, this.timeoutMillis))
      return this.check()
    }
    for (const [batch, group] of made) this.submit(batch, group)
    this.check()
  }

  /** A group that was not written, taken out of a queue: its commands go where they belong now. */
  reroute(batch: Batch): void {
    this.batches.delete(batch)
    batch.part?.call.takeBack()
    for (const unit of batch.units) if (unit.way !== undefined && !unit.way.asking) unit.way = undefined
    this.again(batch.units)
  }

  isMisplaced(batch: Batch, node: ClusterNode): boolean {
    return batch.units.some(
      (unit) =>
        unit.pinned === undefined &&
        unit.way?.asking !== true &&
        unit.slot >= 0 &&
        this.state.table.ownerOf(unit.slot) !== node
    )
  }

  // ---------------------------------------------------------------------------------------------------------- receiving

  private ended(batch: Batch, outcome: Exit.Exit<ReadonlyArray<PipelineReply>, RedisError>): void {
    if (!this.batches.delete(batch) || this.over) return
    const replies = batch.part?.replies ?? []
    const error = Exit.isSuccess(outcome) ? undefined : errorOf(outcome)
    const again: Array<Unit> = []
    for (const [place, unit] of batch.places.entries()) {
      if (unit === undefined) continue
      const reply = replies[place]
      if (reply !== undefined && (error === undefined || place < replies.length)) {
        if (!this.take(unit, reply)) again.push(unit)
      } else if (error !== undefined && !this.lost(unit, error)) again.push(unit)
    }
    this.resend(again)
    this.check()
  }

  /** Takes a reply. False when the command goes on elsewhere. */
  private take(unit: Unit, reply: PipelineReply): boolean {
    const { at } = unit
    if (reply instanceof Resp.ReplyError && at !== undefined && unit.pinned === undefined) {
      const refusal = this.state.refusalOf(reply, unit.name, unit.slot, at)
      if (refusal !== undefined) return this.refused(unit, reply, refusal, at)
    }
    const isDoubted = unit.atReplica && at?.role === "replica" && this.state.options.misses === "ask"
    if (isDoubted && findsNothing(reply)) {
      unit.way = undefined
      unit.at = undefined
      return false
    }
    this.settle(unit, reply)
    return true
  }

  private refused(unit: Unit, error: Resp.ReplyError, refusal: Refusal, at: ClusterNode): boolean {
    unit.hops++
    unit.refusal = error
    if (this.state.closing) {
      this.settle(unit, this.expired(unit))
      return true
    }
    unit.way = this.state.follow(refusal, at, unit.slot, unit.hops)
    if (refusal._tag !== "tryAgain" || unit.part === undefined) return false
    const commands = singleKeys(unit.part, this.split)
    if (commands === undefined) return false
    // Each of its keys alone has an owner all the time: nobody need wait for the migration's end.
    const flags = unit.isRepeatable ? Flags.repeatable : 0
    unit.pieces = commands.map((command) => new Unit(command, unit.slot, flags, unit.index))
    this.pending += unit.pieces.length
    this.again(unit.pieces)
    return true
  }

  /** Its connection was lost, or would not take it. False when it is sent once more. */
  private lost(unit: Unit, error: RedisError): boolean {
    const { reason } = error
    const mayRepeat =
      reason._tag === "ConnectionError" &&
      reason.delivery === "unknown" &&
      unit.isRepeatable &&
      !unit.wasRepeated &&
      unit.pinned === undefined &&
      this.options?.retry !== false &&
      !this.state.closing
    if (mayRepeat) {
      unit.wasRepeated = true
      unit.way = undefined
      return false
    }
    this.settle(unit, lostOf(error, unit, this.timeoutMillis))
    return true
  }

  private settle(unit: Unit, reply: PipelineReply): void {
    if (unit.reply !== undefined) return
    unit.reply = reply
    this.pending--
  }

  /** Sends what was refused: at once, or after the longest of their waits. */
  private resend(units: ReadonlyArray<Unit>): void {
    if (units.length === 0) return
    const wait = Math.max(...units.map((unit) => unit.way?.wait ?? 0))
    if (wait <= 0) return this.again(units)
    const tag = units.find((unit) => unit.way?.tag === "down")?.way?.tag ?? units[0]?.way?.tag
    const isOver = () => this.over
    const held: Held = {
      dueAt: this.state.now() + wait,
      wakeBy: this.deadline === 0 ? Infinity : this.deadline,
      deadline: this.deadline,
      tag,
      get isSettled() {
        return isOver()
      },
      go: () => this.again(units),
      expire: () => {
        for (const unit of units) this.settle(unit, this.expired(unit))
        this.check()
      }
    }
    this.state.keep(held)
  }

  /** Its time is over while no server has it. */
  private expired(unit: Unit): Lost {
    const { hops, name, refusal, slot } = unit
    if (unit.wasRepeated) {
      return new TimeoutError({
        phase: "queued",
        delivery: "unknown",
        command: name,
        timeoutMillis: this.timeoutMillis
      })
    }
    const told = { command: name, slot, hops, last: refusal, closing: this.state.closing }
    const { reason } = clusterError(unit.way?.tag ?? "moved", told)
    return lostReason(reason)
  }

  private check(): void {
    if (this.over) return
    for (const unit of this.units) {
      if (unit.reply !== undefined || unit.pieces === undefined) continue
      const replies = unit.pieces.map((piece) => piece.reply)
      if (replies.every((reply) => reply !== undefined)) this.settle(unit, joined(unit, replies))
    }
    if (this.pending > 0) return
    this.over = true
    this.finish(this.units)
  }
}

/** The reply of a command from those of its keys alone. */
const joined = (unit: Unit, replies: ReadonlyArray<PipelineReply>): PipelineReply => {
  const failed = replies.find(
    (reply) => isLost(reply) || reply instanceof Resp.ReplyError || reply instanceof Resp.DecodeError
  )
  if (failed !== undefined) return failed
  if (unit.name === "MGET") return replies.map((reply) => (Array.isArray(reply) ? (reply[0] ?? null) : null))
  if (unit.name === "MSET") return replies[0] ?? null
  return replies.reduce<number>((sum, reply) => sum + (typeof reply === "number" ? reply : 0), 0)
}

const errorOf = (exit: Exit.Failure<unknown, RedisError>): RedisError => {
  const fail = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  return fail?._tag === "Fail" ? fail.error : new RedisError({ reason: unreachable })
}

const unreachable = new ConnectionError({
  kind: "closed",
  delivery: "unknown",
  address: "cluster",
  detail: "the call ended without a reason"
})

const lostReason = (reason: RedisError["reason"]): Lost => (isLostReason(reason) ? reason : unreachable)

/** The error of a group as that of one of its commands. `timeoutMillis`: of all of it, since a group has what is left. */
const lostOf = (error: RedisError, unit: Unit, timeoutMillis: number): PipelineReply => {
  const { reason } = error
  if (reason instanceof TimeoutError) {
    const delivery = unit.wasRepeated ? "unknown" : reason.delivery
    return new TimeoutError({ phase: reason.phase, delivery, command: unit.name, timeoutMillis })
  }
  if (reason instanceof ConnectionError) {
    const { address, cause, delivery, detail, kind } = reason
    return new ConnectionError({
      kind,
      delivery: unit.wasRepeated ? "unknown" : delivery,
      address,
      detail,
      ...(cause === undefined ? {} : { cause })
    })
  }
  return lostReason(reason)
}

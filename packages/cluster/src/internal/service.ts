/**
 * The `Service` of a cluster: places each call, in its caller's turn.
 *
 * ```
 *   one command    its slot's node, or one primary, or (by policy) every primary
 *   pipeline       grouped by node, each group one write (`gather`)
 *   transaction    one slot, followed whole
 *   blocking       a lease at its slot's node, again at the next one when it is told to leave
 *   lease, watch   a lease at the node of `route`
 *   subscribe      channels at one node, sharded channels at their slot's
 * ```
 *
 * @internal
 */
import * as CommandTable from "@relive/core/CommandTable"
import * as RedisConnection from "@relive/core/RedisConnection"
import { ClusterError, RedisArgumentError, RedisError } from "@relive/core/RedisError"
import type { CallOptions, LeaseOptions, PipelineReply, Service } from "@relive/core/RedisService"
import * as Resp from "@relive/core/Resp"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ShardView } from "../RedisCluster.ts"
import { withLess } from "./blocking.ts"
import { scanCluster } from "./clusterScan.ts"
import { Gather, isLost, isLostReason, Unit } from "./gather.ts"
import type { ChooseReader } from "./gather.ts"
import { ClusterNode } from "./node.ts"
import { splitCommand } from "./parts.ts"
import { aggregateOf } from "./policies.ts"
import type { Aggregate } from "./policies.ts"
import { waitMillis } from "./redirect.ts"
import { chooseReader } from "./replicas.ts"
import type { Policy } from "./replicas.ts"
import { CROSSING, crossing, crossingAll, KEYLESS, slotOfAll, slotOfCommand } from "./routes.ts"
import { subscribeTo } from "./shardChannels.ts"
import { slotOf } from "./slots.ts"
import { clusterError, ENDLESS_MILLIS } from "./state.ts"
import type { ClusterState, Way } from "./state.ts"

const { Flags } = CommandTable

const argumentError = (detail: string): RedisError => new RedisError({ reason: new RedisArgumentError({ detail }) })

const nameOf = (command: Resp.Command): string =>
  typeof command[0] === "string" ? command[0].slice(0, 40).toUpperCase() : "COMMAND"

const noReplica = (command: string, slot: number): ClusterError =>
  new ClusterError({
    kind: "no-replica",
    delivery: "unsent",
    slot,
    hops: 0,
    command,
    detail: "no replica of its slot can be read from now; use preferReplica to fall back to the primary"
  })

/** A command that has blocked for so long before it was refused was served by the server. */
const SERVED_MILLIS = 1_000

/** The wait before a place is looked at again that has no connection, in milliseconds. */
const LOOK_AGAIN_MILLIS = 10

export class ClusterService implements Service, RedisConnection.Submitter {
  private readonly state: ClusterState
  readonly status: Service["status"]
  readonly events: Service["events"]

  constructor(state: ClusterState) {
    this.state = state
    this.status = Effect.sync(() => state.status)
    this.events = Stream.fromPubSub(state.changes)
  }

  get timeoutMillis(): number {
    return this.state.options.connection.timeoutMillis
  }

  toJSON(): unknown {
    return { _tag: "RedisCluster", address: this.state.options.connection.address }
  }

  // -------------------------------------------------------------------------------------------------------- one command

  readonly command: Service["command"] = (command, options) => RedisConnection.commandEffect(this, command, options)

  /** In the turn in which the call begins. */
  readonly submitCommand: RedisConnection.Submitter["submitCommand"] = (command, options) => {
    const { state } = this
    const flags = state.calls.check(command, "shared")
    if (typeof flags !== "number") return Effect.fail(flags)
    const slot = Array.isArray(command) ? slotOfCommand(command) : KEYLESS
    if (slot === CROSSING || (flags & Flags.blocking) !== 0) return this.special(command, flags, slot, options)
    let own = slot
    if (slot === KEYLESS) {
      const elsewhere = this.keyless(command, flags, options)
      if (typeof elsewhere !== "number") return elsewhere
      own = elsewhere
    }
    const call = state.calls.command(command, flags, options)
    if ("reason" in call) return Effect.fail(call)
    call.slot = own
    if (own >= 0 && this.mayReadReplica(flags, options)) {
      const reader = this.readerOf(own, command, options)
      if (reader instanceof ClusterError) return Effect.fail(new RedisError({ reason: reader }))
      const connection = reader?.role === "replica" ? reader.read.connection : undefined
      if (connection !== undefined) {
        call.doubtsMisses = state.options.misses === "ask"
        connection.accept(call, false)
        return call
      }
    }
    state.place(call)
    return call
  }

  /** The slot of a command without keys; -1 for any node; or the effect of it, when it is for several. */
  private keyless(
    command: Resp.Command,
    flags: number,
    options: CallOptions | undefined
  ): number | Effect.Effect<Resp.Reply, RedisError> {
    if (options?.route !== undefined) return slotOf(options.route)
    if (!Array.isArray(command)) return KEYLESS
    const aggregate = aggregateOf(command)
    if (aggregate !== undefined) return this.everywhere(command, flags, aggregate, options)
    if (nameOf(command) === "SCAN") {
      return Effect.fail(
        argumentError(
          "SCAN walks one node, and a cluster has several: use Redis.scan, or RedisCluster.onNode for one node"
        )
      )
    }
    return KEYLESS
  }

  private special(
    command: Resp.Command,
    flags: number,
    slot: number,
    options: CallOptions | undefined
  ): Effect.Effect<Resp.Reply, RedisError> {
    const { split } = this.state.options
    if (slot !== CROSSING) return this.blocking(command, slot, options)
    const whole = splitCommand(command, split)
    if (whole === undefined) return Effect.fail(argumentError(crossing(nameOf(command), command)))
    const make = () => whole.parts.map((part) => new Unit(part.command, part.slot, flags, 0, undefined, part))
    return Effect.flatMap(this.gather(make, options), (units) => {
      const lost = units.find((unit) => isLost(unit.reply))?.reply
      if (isLost(lost)) return Effect.fail(new RedisError({ reason: lost }))
      return replyOf(whole.join(units.map((unit) => unit.reply ?? null)))
    })
  }

  /** A command for every primary, and its one reply. */
  private everywhere(
    command: Resp.Command,
    flags: number,
    aggregate: Aggregate,
    options: CallOptions | undefined
  ): Effect.Effect<Resp.Reply, RedisError> {
    return Effect.flatMap(this.onEvery(command, flags, options), (units) => {
      const lost = units.find((unit) => isLost(unit.reply))
      if (lost !== undefined && isLost(lost.reply) && aggregate(units.map(() => null)) !== undefined) {
        return Effect.fail(new RedisError({ reason: lost.reply }))
      }
      return replyOf(aggregate(units.map((unit) => unit.reply ?? null)))
    })
  }

  /**
   * A command at each primary, once each. One that refuses it has lost its slots, or is loading: it, or whoever has them then,
   * is asked again.
   */
  private onEvery(
    command: Resp.Command,
    flags: number,
    options: CallOptions | undefined
  ): Effect.Effect<ReadonlyArray<Unit>, RedisError> {
    const { state } = this
    const name = nameOf(command)
    const isRefused = ({ pinned, reply }: Unit): boolean =>
      reply instanceof Resp.ReplyError &&
      pinned !== undefined &&
      state.refusalOf(reply, name, KEYLESS, pinned)?._tag === "down"
    const round = (
      done: ReadonlyArray<Unit>,
      tries: number,
      deadline: number
    ): Effect.Effect<ReadonlyArray<Unit>, RedisError> =>
      Effect.suspend(() => {
        const nodes = state.ownersNow.filter((node) => !done.some(({ pinned }) => pinned === node))
        const make = () => nodes.map((node) => new Unit(command, KEYLESS, flags, 0, node))
        const left = { ...options, ...(deadline === Infinity ? {} : { timeout: Math.max(1, deadline - state.now()) }) }
        return Effect.flatMap(this.gather(make, tries === 0 ? options : left), (units) => {
          const wait = waitMillis("down", tries + 1, state.random())
          const all = [...done, ...units]
          if (state.closing || !units.some(isRefused) || state.now() + wait >= deadline) return Effect.succeed(all)
          state.trigger("down")
          return Effect.delay(
            round(
              all.filter((unit) => !isRefused(unit)),
              tries + 1,
              deadline
            ),
            wait
          )
        })
      })
    return Effect.andThen(
      this.known(options),
      this.withDeadline(options, (deadline) => round([], 0, deadline))
    )
  }

  readonly everyPrimary = (
    command: Resp.Command,
    options?: CallOptions
  ): Effect.Effect<ReadonlyMap<string, PipelineReply>, RedisError> =>
    Effect.suspend(() => {
      const flags = this.state.calls.check(command, "shared")
      if (typeof flags !== "number") return Effect.fail(flags)
      return Effect.map(
        this.onEvery(command, flags, options),
        (units) => new Map(units.map((unit) => [unit.pinned?.id ?? "", unit.reply ?? null]))
      )
    })

  /** Waits for the map, within the call's deadline. */
  private known(options: CallOptions | undefined): Effect.Effect<void, RedisError> {
    return Effect.suspend(() => {
      if (this.state.topology !== undefined) return Effect.void
      // A command that any node serves waits as every other does.
      return Effect.asVoid(this.command(["PING"], { timeout: options?.timeout }))
    })
  }

  // ----------------------------------------------------------------------------------------------------------- pipelines

  private gather(
    make: () => ReadonlyArray<Unit>,
    options: CallOptions | undefined
  ): Effect.Effect<ReadonlyArray<Unit>, RedisError> {
    return Effect.callback<ReadonlyArray<Unit>, RedisError>((resume) => {
      const timeout = this.state.calls.timeoutMillis(options)
      if (typeof timeout !== "number") return resume(Effect.fail(timeout))
      const units = make()
      const reader = this.readerFor(options)
      const gather = new Gather(this.state, units, timeout, options, this.state.options.split, reader, (done) =>
        resume(Effect.succeed(done))
      )
      const wrong = gather.start()
      if (wrong !== undefined) return resume(Effect.fail(wrong))
      return Effect.sync(gather.cancel)
    })
  }

  readonly pipeline: Service["pipeline"] = (commands, options) =>
    Effect.suspend(() => {
      const group = this.group(commands, "pipeline")
      if (!("flags" in group)) return Effect.fail(group)
      if (commands.length === 0)
        return Effect.fail(argumentError("The pipeline is empty: give it at least one command"))
      if (group.blocks) return this.blockingPipeline(commands, options)
      const plan = this.plan(commands, group.flags, options)
      if (plan instanceof RedisError) return Effect.fail(plan)
      return Effect.flatMap(this.gather(plan.make, options), plan.replies)
    })

  readonly noreply: Service["noreply"] = (commands, options) =>
    Effect.suspend(() => {
      const group = this.group(commands, "noreply")
      if (!("flags" in group)) return Effect.fail(group)
      if (commands.length === 0) {
        return Effect.fail(argumentError("What is sent with noreply is empty: give it at least one command"))
      }
      const plan = this.plan(commands, group.flags, options)
      if (plan instanceof RedisError) return Effect.fail(plan)
      // With replies off a refusal would be lost in silence: they are read, followed, and dropped.
      return Effect.flatMap(this.gather(plan.make, options), (units) => {
        const lost = units.find((unit) => isLost(unit.reply))?.reply
        return isLost(lost) ? Effect.fail(new RedisError({ reason: lost })) : Effect.void
      })
    })

  /** The units of a pipeline, and its replies from theirs. */
  private plan(commands: ReadonlyArray<Resp.Command>, flags: ReadonlyArray<number>, options: CallOptions | undefined) {
    type Item = {
      readonly size: number
      readonly join: ((replies: ReadonlyArray<PipelineReply>) => PipelineReply) | undefined
    }
    const items: Array<Item> = []
    const makers: Array<() => Unit> = []
    const routed = options?.route === undefined ? KEYLESS : slotOf(options.route)
    for (const [index, command] of commands.entries()) {
      const slot = slotOfCommand(command)
      const own = flags[index] ?? 0
      if (slot !== CROSSING) {
        makers.push(() => new Unit(command, slot === KEYLESS ? routed : slot, own, index))
        items.push({ size: 1, join: undefined })
        continue
      }
      const whole = splitCommand(command, this.state.options.split)
      if (whole === undefined)
        return argumentError(`Command ${index} (counted from 0): ${crossing(nameOf(command), command)}`)
      for (const part of whole.parts) makers.push(() => new Unit(part.command, part.slot, own, index, undefined, part))
      items.push({ size: whole.parts.length, join: whole.join })
    }
    const replies = (units: ReadonlyArray<Unit>): Effect.Effect<ReadonlyArray<PipelineReply>, RedisError> => {
      const first = units[0]?.reply
      // Without a single reply it has failed as a pipeline of one connection does.
      if (isLost(first) && units.every((unit) => isLost(unit.reply)))
        return Effect.fail(new RedisError({ reason: first }))
      const out: Array<PipelineReply> = []
      let at = 0
      for (const { join, size } of items) {
        const own = units.slice(at, at + size).map((unit) => unit.reply ?? null)
        at += size
        out.push(join === undefined ? (own[0] ?? null) : (own.find(isLost) ?? join(own)))
      }
      return Effect.succeed(out)
    }
    return { make: () => makers.map((make) => make()), replies }
  }

  private group(
    commands: ReadonlyArray<Resp.Command>,
    where: CommandTable.Where
  ): { readonly flags: ReadonlyArray<number>; readonly blocks: boolean } | RedisError {
    const notCommands = () =>
      argumentError(`The argument of ${where} must be an array of commands, each an array of its name and arguments`)
    if (!Array.isArray(commands)) return notCommands()
    const flags: Array<number> = []
    let blocks = false
    for (const command of commands) {
      if (!Array.isArray(command)) return notCommands()
      const own = this.state.calls.check(command, where)
      if (typeof own !== "number") return own
      flags.push(own)
      blocks ||= (own & Flags.blocking) !== 0
    }
    return { flags, blocks }
  }

  // -------------------------------------------------------------------------------------------------------- transactions

  readonly transaction: Service["transaction"] = (commands, options) =>
    RedisConnection.transactionEffect(() => {
      const { state } = this
      const group = this.group(commands, "transaction")
      if (!("flags" in group)) return Effect.fail(group)
      const slot = slotOfAll(commands)
      if (slot === CROSSING) return Effect.fail(argumentError(crossingAll(commands)))
      const call = state.calls.transaction(commands, options)
      if ("reason" in call) return Effect.fail(call)
      call.slot = slot === KEYLESS && options?.route !== undefined ? slotOf(options.route) : slot
      state.place(call)
      return call
    })

  // ------------------------------------------------------------------------------------------------------------ replicas

  private mayReadReplica(flags: number, options: CallOptions | undefined): boolean {
    if ((flags & Flags.readOnly) === 0) return false
    return options?.readFrom === undefined ? this.state.options.readFrom !== "primary" : options.readFrom !== "primary"
  }

  private readerFor(options: CallOptions | undefined): ChooseReader | undefined {
    if (!this.mayReadReplica(Flags.readOnly, options)) return undefined
    return (slot, command) => this.readerOf(slot, command, options)
  }

  /** The node that a read goes to; the primary's own when it is `undefined`. */
  private readerOf(
    slot: number,
    command: Resp.Command,
    options: CallOptions | undefined
  ): ClusterNode | ClusterError | undefined {
    const { state } = this
    if (!CommandTable.isReplicaRead(command)) return undefined
    if (options?.readFrom !== undefined && !state.readsReplicas) state.wantReplicas()
    const primary = state.table.ownerOf(slot)
    // Of a slot that is on its way a replica knows nothing.
    if (primary === undefined || state.isOpen(slot)) return undefined
    const policy = options?.readFrom ?? state.options.readFrom
    const replicas = state.replicasOf(primary)
    if (typeof policy === "function") return chosenBy(policy, primary, replicas, command)
    const chosen = chooseReader<ClusterNode>(policy satisfies Policy, primary, replicas, state.random)
    return chosen ?? noReplica(nameOf(command), slot)
  }

  // ------------------------------------------------------------------------------------------------------------- leasing

  /** `to`, or the owner of a slot, or any primary, once it has a service; within `deadline`. */
  private nodeOf(
    slot: number,
    deadline: number,
    command: string,
    to?: ClusterNode | undefined
  ): Effect.Effect<{ readonly node: ClusterNode; readonly service: Service }, RedisError> {
    return Effect.suspend(() => {
      const { state } = this
      if (state.refusing !== undefined && state.topology === undefined) return Effect.fail(state.refusing)
      const node = to ?? (slot >= 0 ? state.table.ownerOf(slot) : state.anyPrimary())
      const service = node?.primary.running?.service
      if (node !== undefined && service !== undefined) return Effect.succeed({ node, service })
      if (state.now() >= deadline || state.closing) {
        const tag = node === undefined && state.topology !== undefined ? "uncovered" : "down"
        return Effect.fail(clusterError(tag, { command, slot, hops: 0, last: undefined, closing: state.closing }))
      }
      return Effect.andThen(Effect.sleep(LOOK_AGAIN_MILLIS), this.nodeOf(slot, deadline, command, to))
    })
  }

  private withDeadline<A>(
    options: CallOptions | undefined,
    run: (deadline: number, asked: number) => Effect.Effect<A, RedisError>
  ): Effect.Effect<A, RedisError> {
    return Effect.suspend(() => {
      const timeout = this.state.calls.timeoutMillis(options)
      if (typeof timeout !== "number") return Effect.fail(timeout)
      const asked = this.state.now()
      return run(asked + timeout, asked)
    })
  }

  /** A command that blocks: on a lease at its slot's node, and again at the next one when the server sends it away. */
  private blocking(
    command: Resp.Command,
    slot: number,
    options: CallOptions | undefined
  ): Effect.Effect<Resp.Reply, RedisError> {
    const name = nameOf(command)
    const own = slot === KEYLESS && options?.route !== undefined ? slotOf(options.route) : slot
    return this.withDeadline(options, (deadline, asked) => {
      let refusedSince: number | undefined
      // It may have blocked for long before it has to look for a node again.
      const until = () => (options?.timeout === undefined ? this.state.now() + (deadline - asked) : deadline)
      const attempt = (
        hops: number,
        pinned: ClusterNode | undefined,
        asking: boolean
      ): Effect.Effect<Resp.Reply, RedisError> =>
        Effect.flatMap(
          pinned?.primary.running === undefined
            ? this.nodeOf(own, until(), name, pinned)
            : Effect.succeed({ node: pinned, service: pinned.primary.running.service }),
          ({ node, service }) => {
            const began = this.state.now()
            const elapsed = began - asked
            const less = withLess(command, elapsed)
            const left: CallOptions =
              options?.timeout === undefined
                ? { ...options }
                : { ...options, timeout: Math.max(1, deadline - this.state.now()) }
            const { route: _route, ...rest } = left
            const run = asking ? askingFor(service, less, rest) : service.command(less, rest)
            return Effect.catch(run, (error) => {
              if (!(error.reason instanceof Resp.ReplyError)) return Effect.fail(error)
              const refusal = this.state.refusalOf(error.reason, name, own, node, true)
              if (refusal === undefined) return Effect.fail(error)
              const way = this.state.follow(refusal, node, own, hops + 1)
              const now = this.state.now()
              // One that has blocked for a while was served meanwhile.
              if (refusedSince === undefined || now - began >= SERVED_MILLIS) refusedSince = now
              const { closing } = this.state
              const isOver =
                closing ||
                (options?.timeout === undefined ? now - refusedSince >= ENDLESS_MILLIS : now + way.wait >= deadline)
              if (isOver) {
                return Effect.fail(
                  clusterError(way.tag, { command: name, slot: own, hops: hops + 1, last: error.reason, closing })
                )
              }
              if (way.to !== undefined) this.state.need(way.to)
              const again = Effect.suspend(() => attempt(hops + 1, way.to, way.asking))
              return way.wait > 0 ? Effect.andThen(Effect.sleep(way.wait), again) : again
            })
          }
        )
      return attempt(0, undefined, false)
    })
  }

  /** A pipeline with a command that blocks goes whole to one node. */
  private blockingPipeline(
    commands: ReadonlyArray<Resp.Command>,
    options: CallOptions | undefined
  ): Effect.Effect<ReadonlyArray<PipelineReply>, RedisError> {
    const slot = slotOfAll(commands)
    if (slot === CROSSING) {
      return Effect.fail(
        argumentError(
          "A pipeline with a command that blocks goes to one connection: its keys must share a hash tag, such as {42}"
        )
      )
    }
    const own = slot === KEYLESS && options?.route !== undefined ? slotOf(options.route) : slot
    return this.withDeadline(options, (deadline, asked) =>
      this.sendWhole(commands, own, deadline, deadline - asked, options)
    )
  }

  /** What is refused of it has not run, and is sent on together: in order, after what has run. */
  private sendWhole(
    commands: ReadonlyArray<Resp.Command>,
    slot: number,
    deadline: number,
    timeoutMillis: number,
    options: CallOptions | undefined
  ): Effect.Effect<ReadonlyArray<PipelineReply>, RedisError> {
    const { state } = this
    const { route: _route, ...given } = options ?? {}
    // Without a timeout of its own it may block for long; then it is refused for as long as any call may be.
    let until = options?.timeout === undefined ? Infinity : deadline
    const done: Array<PipelineReply> = commands.map(() => null)
    const round = (
      indexes: ReadonlyArray<number>,
      hops: number,
      way: Way | undefined
    ): Effect.Effect<ReadonlyArray<PipelineReply>, RedisError> =>
      Effect.flatMap(
        this.nodeOf(slot, Math.min(until, state.now() + timeoutMillis), "PIPELINE", way?.to),
        ({ node, service }) => {
          const asks = way?.asking === true
          const sent = indexes.flatMap((index) => {
            const command = commands[index] ?? []
            return asks ? [["ASKING"], command] : [command]
          })
          const left: CallOptions =
            options?.timeout === undefined ? given : { ...given, timeout: Math.max(1, deadline - state.now()) }
          // ASKING is for the connection, which must be nobody else's.
          const run = asks
            ? Effect.scoped(
                Effect.flatMap(service.lease({ timeout: left.timeout }), (lease) => lease.pipeline(sent, left))
              )
            : service.pipeline(sent, left)
          const some = Effect.catch(run, (error) => {
            const { reason } = error
            // The others have their replies.
            if (indexes.length === commands.length || !isLostReason(reason)) return Effect.fail(error)
            return Effect.succeed<ReadonlyArray<PipelineReply>>(sent.map(() => reason))
          })
          return Effect.flatMap(some, (replies) => {
            const refused: Array<number> = []
            let next: Way | undefined
            for (const [at, index] of indexes.entries()) {
              const reply = replies[asks ? at * 2 + 1 : at] ?? null
              const name = nameOf(commands[index] ?? [])
              const refusal =
                reply instanceof Resp.ReplyError && !state.closing
                  ? state.refusalOf(reply, name, slot, node, true)
                  : undefined
              done[index] = reply
              if (refusal === undefined) continue
              refused.push(index)
              next ??= state.follow(refusal, node, slot, hops + 1)
            }
            if (next === undefined) return Effect.succeed(done)
            const following = next
            const now = state.now()
            if (until === Infinity) until = now + timeoutMillis
            const { closing } = state
            if (closing || now + following.wait >= until) {
              for (const index of refused) {
                const last = done[index] instanceof Resp.ReplyError ? done[index] : undefined
                const told = { command: nameOf(commands[index] ?? []), slot, hops: hops + 1, last, closing }
                const { reason } = clusterError(following.tag, told)
                if (isLostReason(reason)) done[index] = reason
              }
              return Effect.succeed(done)
            }
            if (following.to !== undefined) state.need(following.to)
            const again = Effect.suspend(() => round(refused, hops + 1, following))
            return following.wait > 0 ? Effect.andThen(Effect.sleep(following.wait), again) : again
          })
        }
      )
    return round(
      commands.map((_, index) => index),
      0,
      undefined
    )
  }

  readonly lease: Service["lease"] = (options) =>
    Effect.suspend(() => {
      const slot = options?.route === undefined ? KEYLESS : slotOf(options.route)
      return this.leaseAt(slot, options)
    })

  private leaseAt(slot: number, options: LeaseOptions | undefined): Effect.Effect<Service, RedisError, Scope.Scope> {
    const timeout = this.state.calls.timeoutMillis({ timeout: options?.timeout })
    if (typeof timeout !== "number") return Effect.fail(timeout)
    const deadline = this.state.now() + timeout
    return Effect.flatMap(this.nodeOf(slot, deadline, "LEASE"), ({ node, service }) => {
      const left = timeout === Infinity ? ("infinite" as const) : Math.max(1, deadline - this.state.now())
      return Effect.map(service.lease({ ...options, timeout: left }), (lease) => leased(this.state, node, slot, lease))
    })
  }

  // ---------------------------------------------------------------------------------------------------- streams, one node

  readonly scan: NonNullable<Service["scan"]> = (options) => scanCluster(this.state, options)

  get subscribe(): Service["subscribe"] {
    return subscribeTo(this.state)
  }

  readonly onNode = (id: string): Effect.Effect<Service, RedisError> =>
    Effect.suspend(() => {
      const node = this.state.nodes.get(id) ?? this.state.byText(id)
      const service = node?.primary.running?.service ?? node?.read.running?.service
      if (service !== undefined) return Effect.succeed(service)
      const detail =
        "no node of the cluster has this id or address, or it has no connection: replicas have one when they are read from"
      return Effect.fail(
        new RedisError({
          reason: new ClusterError({
            kind: "unknown-node",
            delivery: "unsent",
            slot: -1,
            hops: 0,
            command: "NODE",
            detail
          })
        })
      )
    })
}

/** `ASKING` and a command that blocks, on one lease. */
const askingFor = (
  service: Service,
  command: Resp.Command,
  options: CallOptions
): Effect.Effect<Resp.Reply, RedisError> =>
  Effect.scoped(
    Effect.flatMap(service.lease(), (lease) =>
      Effect.flatMap(lease.pipeline([["ASKING"], command], options), ([, reply = null]) => replyOf(reply))
    )
  )

/** An element as the reply of a command. */
const replyOf = (reply: PipelineReply): Effect.Effect<Resp.Reply, RedisError> => {
  if (
    reply instanceof Resp.ReplyError ||
    reply instanceof Resp.DecodeError ||
    reply instanceof Resp.ReplyLimitError ||
    isLost(reply)
  ) {
    return Effect.fail(new RedisError({ reason: reply }))
  }
  return Effect.succeed(reply)
}

const chosenBy = (
  choose: (shard: ShardView, command: Resp.Command) => unknown,
  primary: ClusterNode,
  replicas: ReadonlyArray<ClusterNode>,
  command: Resp.Command
): ClusterNode => {
  try {
    const chosen = choose({ primary, replicas }, command)
    return chosen instanceof ClusterNode && (chosen === primary || replicas.includes(chosen)) ? chosen : primary
  } catch {
    return primary
  }
}

/** A lease in a cluster: it does not move, so what sends it away is an error that says to acquire another one. */
const leased = (state: ClusterState, node: ClusterNode, slot: number, lease: Service): Service => {
  const moving = (error: RedisError, command: string): RedisError => {
    const { reason } = error
    const told =
      reason instanceof Resp.ReplyError
        ? reason
        : reason._tag === "TransactionAborted"
          ? abortedBy(reason.detail, reason.queueErrors)
          : undefined
    const refusal = told === undefined ? undefined : state.refusalOf(told, command, -1, node)
    if (told === undefined || refusal === undefined) return error
    state.follow(refusal, node, slot, 1)
    return new RedisError({
      reason: new ClusterError({
        kind: refusal._tag === "down" ? "down" : "moving",
        delivery: "unsent",
        slot,
        hops: 1,
        command,
        last: told.message,
        detail: "the slot has moved away from the leased connection: acquire another lease"
      })
    })
  }
  return {
    command: (command, options) =>
      Effect.mapError(lease.command(command, options), (error) => moving(error, nameOf(command))),
    pipeline: lease.pipeline,
    transaction: (commands, options) =>
      Effect.mapError(lease.transaction(commands, options), (error) => moving(error, "EXEC")),
    noreply: lease.noreply,
    lease: lease.lease,
    subscribe: lease.subscribe,
    timeoutMillis: lease.timeoutMillis,
    status: lease.status,
    events: lease.events
  }
}

/** The reason a transaction was discarded: a redirect among its commands, or of EXEC itself. */
const abortedBy = (
  detail: string,
  queueErrors: ReadonlyArray<{ readonly code: string; readonly message: string }>
): Resp.ReplyError => {
  const first = queueErrors.find(({ code }) => code !== "EXECABORT")
  return Resp.ReplyError.fromText(first?.message ?? detail)
}

export const makeClusterService = (state: ClusterState): ClusterService => new ClusterService(state)

/**
 * The record of a run: every call that was made and how it settled. The ledger of `@relive/testing` judges what it can see
 * from executions alone; what follows from the meaning of a kind of call (the value a register may have, the whole of a
 * transaction) is judged where that meaning is known, and told here.
 */
import type { RedisError } from "@relive/core/RedisError"
import type { CallOptions } from "@relive/core/RedisService"
import { RedisService } from "@relive/core"
import type { Ledger } from "@relive/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Histogram } from "./Histogram.ts"
import type { History, Question } from "./History.ts"
import type { Lane } from "./Lane.ts"
import type { Seeded } from "./Seeded.ts"
import { TIMEOUT_MILLIS } from "./Settings.ts"

/** The kinds of calls. */
export const kinds = [
  "get",
  "getBytes",
  "set",
  "write",
  "writeBytes",
  "retry",
  "script",
  "pipelineReads",
  "pipelineMixed",
  "transaction",
  "noreply",
  "blockingPop",
  "lease",
  "watch"
] as const

export type Kind = (typeof kinds)[number]

/** The counts of broken laws that a run reports; the leaks are counted at its end. */
export const laws = [
  "wrongReplies",
  "executedThoughUnsent",
  "executedTwice",
  "lostAcknowledged",
  "unsettled",
  "missedOutsideGap",
  "deliveredTwice"
] as const

export type Law = (typeof laws)[number]

/** One finding, with what to look at in the history. */
export interface Finding extends Question {
  readonly law: Law
  readonly what: string
}

/** A call to make. */
export interface Spec<A> {
  readonly lane: Lane
  readonly kind: Kind
  /** One for each command of the call. */
  readonly effects: ReadonlyArray<"read" | "write">
  readonly keys?: ReadonlyArray<string> | undefined
  /** The caller opted in to more than one execution. */
  readonly mayRepeat?: boolean | undefined
  /** It consists of several calls, or runs on a connection of its own. */
  readonly composite?: boolean | undefined
  /** It shall be interrupted then. */
  readonly interruptAfterMillis?: number | undefined
  /** It shall be neither interrupted nor hurried by chance. */
  readonly untroubled?: boolean | undefined
  /** The deadline it is given by `run`, in milliseconds, where that is not the connection's. */
  readonly deadlineMillis?: number | undefined
  /** Whether this failure, by which nothing ran, is a right reply. `LOADING` always is. */
  readonly refusal?: ((error: RedisError) => boolean) | undefined
  /** The fault of the reply, if it has one. */
  readonly check?: ((reply: A, ids: ReadonlyArray<number>) => string | undefined) | undefined
  readonly run: (ids: ReadonlyArray<number>, options: CallOptions) => Effect.Effect<A, RedisError, RedisService>
}

/** The way in which a call settled. */
export type Settled<A> =
  | { readonly _tag: "Acknowledged"; readonly reply: A; readonly ids: ReadonlyArray<number> }
  | { readonly _tag: "Refused"; readonly ids: ReadonlyArray<number> }
  | {
      readonly _tag: "Failed" | "Interrupted"
      readonly delivery: "unsent" | "unknown"
      readonly ids: ReadonlyArray<number>
    }

/** The rate and the delay with which a call is troubled. */
const trouble = { interrupt: 0.04, hurry: 0.04, interruptMillis: 12, hurryMillis: 25 }

/** A call that settles this much after its deadline counts as not settled: our own event loop may be late too. */
const LATE_MILLIS = 2_500

const SHOWN_FINDINGS = 20

export class Book {
  readonly history: History
  readonly ledger: Ledger.Ledger
  readonly latency = new Histogram()
  readonly findings: Array<Finding> = []
  readonly broken: Record<Law, number> = {
    wrongReplies: 0,
    executedThoughUnsent: 0,
    executedTwice: 0,
    lostAcknowledged: 0,
    unsettled: 0,
    missedOutsideGap: 0,
    deliveredTwice: 0
  }
  /** Commands so far, by kind and in all. */
  readonly submitted: Map<Kind, number> = new Map(kinds.map((kind) => [kind, 0]))
  commands = 0

  constructor(history: History, ledger: Ledger.Ledger) {
    this.history = history
    this.ledger = ledger
  }

  /** A law was seen broken, between `from` and now. */
  breaks(law: Law, where: string, what: string, from = this.history.now(), call?: number): void {
    this.broken[law]++
    this.history.add(where, `!! ${law}: ${what}`)
    if (this.findings.length >= SHOWN_FINDINGS) return
    this.findings.push({ law, where, what: `${where}: ${what}`, from, to: this.history.now(), call })
  }

  /** Makes a call, perhaps interrupts or hurries it, and records how it settled. Never fails. */
  readonly call = <A>(spec: Spec<A>, random: Seeded): Effect.Effect<Settled<A>> =>
    Effect.gen({ self: this }, function* () {
      const { lane } = spec
      const ids = yield* this.open(spec)
      const startedAt = this.history.now()
      const hurry = spec.untroubled !== true && spec.deadlineMillis === undefined && random.chance(trouble.hurry)
      const deadline = hurry ? random.integer(1, trouble.hurryMillis) : (spec.deadlineMillis ?? TIMEOUT_MILLIS)
      const interrupts = spec.untroubled !== true && random.chance(trouble.interrupt)
      const interruptAfter =
        spec.interruptAfterMillis ?? (interrupts ? random.integer(0, trouble.interruptMillis) : undefined)
      const before = lane.glance()
      const attempt = Effect.provideService(
        spec.run(ids, hurry ? { timeout: deadline } : {}),
        RedisService,
        lane.service
      )
      const exit = yield* interruptAfter === undefined ? Effect.exit(attempt) : interrupted(attempt, interruptAfter)
      // Not even dialled in between: then an interrupted call was not written.
      const wasDown = spec.composite !== true && before.isDown && lane.isAsAt(before)
      const settled = this.judge(spec, ids, exit, wasDown, startedAt)
      const tookMillis = this.history.now() - startedAt
      if (spec.composite !== true && tookMillis > deadline + LATE_MILLIS + 2 * this.history.heldUpSince(startedAt)) {
        const what = `${spec.kind} ${ids.join(" ")} settled ${tookMillis.toFixed(0)} ms after it was made, with a deadline of ${deadline} ms`
        this.breaks("unsettled", lane.name, what, startedAt, ids[0])
      }
      for (const id of ids) yield* this.ledger.settle(id, outcomeOf(settled))
      if (settled._tag === "Acknowledged") {
        this.latency.add(tookMillis)
        if (spec.composite !== true) lane.answeredAt = this.history.now()
      }
      // While it is down there is no hurry.
      if (settled._tag === "Failed" && settled.delivery === "unsent") yield* Effect.sleep(random.integer(20, 120))
      return settled
    })

  private open<A>(spec: Spec<A>): Effect.Effect<ReadonlyArray<number>> {
    this.commands += spec.effects.length
    this.submitted.set(spec.kind, (this.submitted.get(spec.kind) ?? 0) + spec.effects.length)
    return Effect.forEach(spec.effects, (effect) =>
      // The ledger's kinds say the connection too, for its findings.
      this.ledger.submit({ kind: `${spec.kind}@${spec.lane.name}`, effect, keys: spec.keys, mayRepeat: spec.mayRepeat })
    )
  }

  private judge<A>(
    spec: Spec<A>,
    ids: ReadonlyArray<number>,
    exit: Exit.Exit<A, RedisError>,
    wasDown: boolean,
    startedAt: number
  ): Settled<A> {
    const note = (what: string) =>
      this.history.add(
        spec.lane.name,
        `${spec.kind} ${idsText(ids)} of ${startedAt.toFixed(0)} ms: ${what.slice(0, 140)}`,
        [ids[0] ?? -1, ids.at(-1) ?? -1]
      )
    const wrong = (what: string) =>
      this.breaks("wrongReplies", spec.lane.name, `${spec.kind} ${idsText(ids)}: ${what}`, startedAt, ids[0])
    if (Exit.isSuccess(exit)) {
      const problem = spec.check?.(exit.value, ids)
      if (problem !== undefined) wrong(problem)
      return { _tag: "Acknowledged", reply: exit.value, ids }
    }
    const error = exit.cause.reasons.find(Cause.isFailReason)?.error
    if (error === undefined) {
      if (!Cause.hasInterruptsOnly(exit.cause)) wrong(`a defect: ${Cause.pretty(exit.cause)}`)
      note(wasDown ? "interrupted while it waited" : "interrupted")
      return { _tag: "Interrupted", delivery: wasDown ? "unsent" : "unknown", ids }
    }
    note(error.message)
    const { reason } = error
    switch (reason._tag) {
      case "ConnectionError":
      case "TimeoutError":
        return { _tag: "Failed", delivery: reason.delivery, ids }
      case "LeaseTimeout":
        return { _tag: "Failed", delivery: "unsent", ids }
      case "WatchConflict":
        return { _tag: "Refused", ids }
      case "ReplyError":
        if (reason.code === "LOADING" && reason.delivery !== "unknown") return { _tag: "Refused", ids }
    }
    if (spec.refusal?.(error) === true) return { _tag: "Refused", ids }
    wrong(error.message)
    return { _tag: "Failed", delivery: "unknown", ids }
  }
}

const idsText = (ids: ReadonlyArray<number>): string =>
  ids.length === 1 ? `#${ids[0]}` : `#${ids[0]}…${ids[ids.length - 1]}`

/** Runs an effect in a fiber of its own and interrupts that after a while. */
const interrupted = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  millis: number
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* Effect.raceFirst(Fiber.await(fiber), Effect.sleep(millis))
    yield* Fiber.interrupt(fiber)
    return yield* Fiber.await(fiber)
  })

const outcomeOf = <A>(settled: Settled<A>): Ledger.Outcome => {
  switch (settled._tag) {
    case "Acknowledged":
      return { _tag: "Acknowledged", reply: undefined }
    case "Refused":
      return { _tag: "Refused" }
    case "Failed":
    case "Interrupted":
      return { _tag: settled._tag, delivery: settled.delivery }
  }
}

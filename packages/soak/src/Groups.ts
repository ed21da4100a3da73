/** Calls of several commands: pipelines, transactions, and commands without replies. */
import { Redis, Resp } from "@relive/core"
import type { PipelineReply } from "@relive/core/RedisService"
import * as Effect from "effect/Effect"
import * as Fixtures from "./Fixtures.ts"
import * as Payload from "./Payload.ts"
import * as Traces from "./Traces.ts"
import { repeat, type Work } from "./Work.ts"

/** A command and what its reply must be. */
interface Step {
  readonly effect: "read" | "write"
  readonly command: (id: number) => Resp.Command
  readonly accepts: (reply: PipelineReply, id: number, bytes: boolean) => boolean
}

const accepting = (steps: ReadonlyArray<Step>, bytes: boolean) => {
  return (replies: ReadonlyArray<PipelineReply>, ids: ReadonlyArray<number>): string | undefined => {
    if (replies.length !== steps.length) return `${replies.length} replies to ${steps.length} commands`
    const wrong = steps.findIndex((step, index) => !step.accepts(replies[index] ?? null, ids[index] ?? -1, bytes))
    return wrong === -1 ? undefined : `reply ${wrong} of ${steps.length} is ${Fixtures.show(replies[wrong])}`
  }
}

const commandsOf = (steps: ReadonlyArray<Step>, ids: ReadonlyArray<number>): ReadonlyArray<Resp.Command> =>
  steps.map((step, index) => step.command(ids[index] ?? -1))

const isError = (reply: PipelineReply, code: string): boolean => reply instanceof Resp.ReplyError && reply.code === code

const count: Step = {
  effect: "write",
  command: (id) => ["HINCRBY", Traces.counts, id, 1],
  accepts: (reply) => reply === 1
}

const push: Step = {
  effect: "write",
  command: (id) => ["RPUSH", Traces.texts, Payload.text(id)],
  accepts: (reply) => typeof reply === "number" && reply > 0
}

const echo: Step = {
  effect: "read",
  command: (id) => ["ECHO", Payload.text(id)],
  accepts: (reply, id, bytes) => (bytes ? Fixtures.sameBytes(reply, Payload.bytes(id)) : reply === Payload.text(id))
}

const wrongType: Step = {
  effect: "read",
  command: () => ["GET", Fixtures.list],
  accepts: (reply) => isError(reply, "WRONGTYPE")
}

const get = (work: Work, bytes: boolean): Step => {
  const fixture = work.random.pick(bytes ? Fixtures.bytes : Fixtures.texts)
  return {
    effect: "read",
    command: () => ["GET", fixture.key],
    accepts: (reply) => (bytes ? Fixtures.sameBytes(reply, fixture.value) : reply === fixture.text)
  }
}

const length = (work: Work): Step => {
  const fixture = work.random.pick(Fixtures.bytes)
  return {
    effect: "read",
    command: () => ["STRLEN", fixture.key],
    accepts: (reply) => reply === fixture.value.length
  }
}

const several = (work: Work): Step => {
  const one = work.random.pick(Fixtures.texts)
  return {
    effect: "read",
    command: () => ["MGET", one.key, "fixture:absent", one.key],
    accepts: (reply, _id, bytes) =>
      Array.isArray(reply) &&
      reply.length === 3 &&
      reply[1] === null &&
      [reply[0], reply[2]].every((found) => (bytes ? Fixtures.sameBytes(found, one.value) : found === one.text))
  }
}

const range = (from: number, to: number, work: Work): ReadonlyArray<number> =>
  Array.from({ length: work.random.integer(from, to) }, (_, index) => index)

/** Reads alone: repeated when their session dies. */
export const pipelinesOfReads = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "pipelineReads",
    Effect.suspend(() => {
      const bytes = work.random.chance(0.4)
      const steps = range(1, 8, work).map(() =>
        work.random.pick([() => get(work, bytes), () => length(work), () => several(work), () => wrongType])()
      )
      return work.book.call(
        {
          lane: work.lane,
          kind: "pipelineReads",
          effects: steps.map(({ effect }) => effect),
          check: accepting(steps, bytes),
          run: (ids, options) =>
            Redis.pipeline(commandsOf(steps, ids), { ...options, ...(bytes ? { decode: "bytes" } : {}) })
        },
        work.random
      )
    })
  )

/** Reads and writes, and commands that fail in between. */
export const pipelinesOfAll = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "pipelineMixed",
    Effect.suspend(() => {
      const bytes = work.random.chance(0.3)
      const steps = [
        count,
        ...range(0, 6, work).map(() =>
          work.random.pick([() => get(work, bytes), () => count, () => push, () => echo, () => wrongType])()
        ),
        count
      ]
      return work.book.call(
        {
          lane: work.lane,
          kind: "pipelineMixed",
          effects: steps.map(({ effect }) => effect),
          keys: [Traces.counts, Traces.texts],
          check: accepting(steps, bytes),
          run: (ids, options) =>
            Redis.pipeline(commandsOf(steps, ids), { ...options, ...(bytes ? { decode: "bytes" } : {}) })
        },
        work.random
      )
    })
  )

/** Its two halves, with what may go wrong between them. */
const transactionOf = (work: Work, ids: ReadonlyArray<number>, refused: boolean): ReadonlyArray<Resp.Command> => {
  const [first = -1, , second = -1] = ids
  return [
    ["RPUSH", Traces.halves[0], first],
    refused
      ? ["GET"]
      : work.random.pick([
          ["GET", Fixtures.list],
          ["ECHO", `${first}`]
        ]),
    ["RPUSH", Traces.halves[1], `${second}:${first}`]
  ]
}

const transactionProblem = (
  replies: ReadonlyArray<PipelineReply>,
  ids: ReadonlyArray<number>,
  refused: boolean
): string | undefined => {
  const [first, between = null, second] = replies
  if (refused) return "succeeded, though one of its commands is wrong"
  if (replies.length !== 3 || typeof first !== "number" || typeof second !== "number") return Fixtures.show(replies)
  return between === `${ids[0]}` || isError(between, "WRONGTYPE")
    ? undefined
    : `the reply between is ${Fixtures.show(between)}`
}

/** All or nothing; some are refused by the server, and some hold a command that fails. */
export const transactions = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "transaction",
    Effect.suspend(() => {
      const refused = work.random.chance(0.1)
      return work.book.call(
        {
          lane: work.lane,
          kind: "transaction",
          effects: ["write", "read", "write"],
          keys: Traces.halves,
          refusal: (error) => refused && error.reason._tag === "TransactionAborted",
          check: (replies: ReadonlyArray<PipelineReply>, ids) => transactionProblem(replies, ids, refused),
          run: (ids, options) => Redis.transaction(transactionOf(work, ids, refused), options)
        },
        work.random
      )
    })
  )

/** Without replies: success says that all were executed. */
export const silent = (work: Work): Effect.Effect<void> =>
  repeat(
    work,
    "noreply",
    Effect.suspend(() => {
      const steps = range(1, 5, work).map(() => work.random.pick([count, push]))
      return work.book.call(
        {
          lane: work.lane,
          kind: "noreply",
          effects: steps.map(({ effect }) => effect),
          keys: [Traces.counts, Traces.texts],
          run: (ids, options) => Redis.noreply(commandsOf(steps, ids), options)
        },
        work.random
      )
    })
  )

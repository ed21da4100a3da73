/**
 * The recorded conversations against a live client: scripted nodes say what the recorded ones said, and the client must do
 * what each reply asks for, hop by hop.
 *
 * Each single command, and each whole transaction, of a row is sent by a client whose map names the node that was asked. What
 * that node said is said again: once where it names another node, twice where it asks to wait. Wherever the client goes then, that
 * node accepts the command only with `ASKING` where it was sent by `ASK`, and without it otherwise.
 */
import * as CommandTable from "@relive/core/CommandTable"
import * as Resp from "@relive/core/Resp"
import type { RedisError } from "@relive/core/RedisError"
import { RedisCluster } from "@relive/cluster"
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { aggregateOf } from "../src/internal/policies.ts"
import { slotOfAll, slotOfCommand } from "../src/internal/routes.ts"
import { splitCommand } from "../src/internal/parts.ts"
import { encodeReply, isRecord, list } from "./clusterCases.ts"
import type { Json, Result } from "./clusterCases.ts"

const text = (value: unknown): string => (typeof value === "string" ? value : "")

const ACCEPTED = "accepted where it belongs"

interface Scene {
  readonly id: string
  readonly on: string
  readonly commands: ReadonlyArray<ReadonlyArray<string>>
  readonly replies: ReadonlyArray<unknown>
  readonly isTransaction: boolean
}

const names = ["A", "B", "C", "A1", "B1", "C1", "A2"] as const

/** What a row holds that a client can be asked to do by itself. */
const scenesOf = (row: Json): ReadonlyArray<Scene> => {
  const group = text(row["group"])
  if (["failover", "sharded", "blocked", "replica", "keyless"].includes(group)) return []
  const scenes: Array<Scene> = []
  for (const [index, value] of list(row["steps"]).entries()) {
    if (!isRecord(value) || !Array.isArray(value["send"])) continue
    const commands = list(value["send"]).map((command) => list(command).map(String))
    const replies = list(value["replies"])
    const isTransaction = commands[0]?.[0] === "MULTI" && commands[commands.length - 1]?.[0] === "EXEC"
    const isSingle = commands.length === 1 && replies.length === 1
    const id = `${text(row["id"])}.${index + 1}/live`
    const isWhole = isTransaction && replies.length === commands.length && commands.length > 2
    if (isWhole && commands.slice(1, -1).every((one) => CommandTable.refusal(one, "transaction") === undefined)) {
      scenes.push({ id, on: text(value["on"]), commands, replies, isTransaction: true })
    } else if (isSingle && mayBeSent(commands[0] ?? [])) {
      scenes.push({ id, on: text(value["on"]), commands, replies, isTransaction: false })
    }
  }
  return scenes
}

const mayBeSent = (command: ReadonlyArray<string>): boolean =>
  CommandTable.refusal(command, "shared") === undefined &&
  slotOfCommand(command) >= 0 &&
  aggregateOf(command) === undefined

const decode = (bytes: string): unknown => {
  const out: Array<Resp.Decoded<Resp.Reply>> = []
  Resp.makeDecoder().push(Buffer.from(bytes), out)
  return out[0]
}

/** The first refusal that the recorded node gave, read from its text alone. */
const refusalIn = (scene: Scene, fill: (text: string) => string): string | undefined => {
  const errors = scene.replies.map((reply) => (isRecord(reply) ? fill(text(reply["err"])) : ""))
  const last = errors[errors.length - 1] ?? ""
  const first = errors.find((error) => error !== "") ?? ""
  if (scene.isTransaction && !/^(EXECABORT|MOVED|ASK|TRYAGAIN|CLUSTERDOWN)/.test(last)) return undefined
  const name = scene.commands[0]?.[0]?.toUpperCase() ?? ""
  const isScript = /^(EVAL|EVALSHA|FCALL)(_RO)?$/.test(name)
  if (/^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN|LOADING|MASTERDOWN) /.test(first)) return first
  return first.startsWith("READONLY ") && !isScript && !first.includes("script: ") ? first : undefined
}

const run = (scene: Scene): Effect.Effect<string | null, RedisError> =>
  Effect.gen(function* () {
    const ports = new Map<string, number>()
    const fill = (value: string): string =>
      value
        .replace(/<port:([A-Z]\d?)[^>]*>/g, (_, name: string) => String(ports.get(name) ?? 1))
        .replace(/<id:([^>]+)>/g, (_, name: string) => name.padEnd(40, "0"))
        .replace(/<([A-Z]\d?)>/g, (_, name: string) => `127.0.0.1:${ports.get(name) ?? 1}`)
    const slot = scene.isTransaction ? slotOfAll(scene.commands.slice(1, -1)) : slotOfCommand(scene.commands[0] ?? [])
    const trace: Array<string> = []
    let asked = 0
    const seen = new Map<string, number>()
    const handlerOf =
      (name: string): FakeServer.Handler =>
      (line, connection) => {
        const [word = ""] = line
        const upper = word.toUpperCase()
        if (upper === "CLUSTER") return slotsReply(ports, scene.on, slot)
        // The PING of a handshake stands alone; one of a conversation is in a transaction.
        const isHandshake = upper === "PING" && !inMulti.has(connection.index * 10 + names.indexOf(name as "A"))
        if (["HELLO", "CLIENT", "READONLY"].includes(upper) || isHandshake) return undefined
        if (upper === "MULTI") inMulti.add(connection.index * 10 + names.indexOf(name as "A"))
        trace.push(`${name} ${upper}`)
        if (upper === "ASKING") return "+OK\r\n"
        if (name === scene.on) {
          const place = (seen.get(name) ?? 0) % scene.commands.length
          seen.set(name, (seen.get(name) ?? 0) + 1)
          const refusal = refusalIn(scene, fill)
          const rounds = Math.floor(((seen.get(name) ?? 1) - 1) / scene.commands.length)
          const waits = refusal !== undefined && !/^(MOVED|ASK)/.test(refusal)
          if (upper === scene.commands[0]?.[0]?.toUpperCase()) asked++
          if (rounds < (waits ? 2 : 1)) return encodeReply(scene.replies[place], 3, fill)
        }
        return acceptedReply(upper, scene)
      }
    const inMulti = new Set<number>()
    for (const name of names) {
      const server = yield* FakeServer.make((connection) => connection.serve(handlerOf(name), FakeServer.handshake))
      ports.set(name, server.port)
    }
    const here = { host: "127.0.0.1", port: ports.get(scene.on) ?? 1 }
    const known = new Set(ports.values())
    const cluster = yield* RedisCluster.make({
      nodes: [here],
      refresh: { every: "never" },
      // Announced addresses of a recorded row lead to node A.
      mapAddress: ({ port }) => ({ host: "127.0.0.1", port: known.has(port) ? port : (ports.get("A") ?? 1) })
    })
    const call: Effect.Effect<unknown, RedisError> = scene.isTransaction
      ? cluster.service.transaction(scene.commands.slice(1, -1), { timeout: 3_000 })
      : cluster.service.command(scene.commands[0] ?? [], { timeout: 3_000 })
    const exit = yield* Effect.exit(call)
    const refusal = refusalIn(scene, fill)
    if (slot < 0) return crossing(scene, exit)
    if (refusal === undefined) return settled(scene, exit, fill)
    const went = Exit.isSuccess(exit)
      ? JSON.stringify(exit.value)
      : String(exit.cause.reasons[0]?._tag === "Fail" ? exit.cause.reasons[0].error.message : exit.cause)
    if (!went.includes(ACCEPTED)) return `${refusal}: it was not followed to the end: ${went} (${trace.join(", ")})`
    const isAsk = refusal.startsWith("ASK ")
    const target = /:(\d+)$/.exec(refusal)?.[1]
    if (/^(MOVED|ASK)/.test(refusal)) {
      const wanted = names.find((name) => ports.get(name) === Number(target)) ?? "A"
      const after = trace.slice(trace.findIndex((line) => line.startsWith(`${wanted} `) && wanted !== scene.on))
      if (wanted !== scene.on && !after.some((line) => line.startsWith(`${wanted} `)))
        return `it did not go to ${wanted}: ${trace.join(", ")}`
      if (wanted !== scene.on && (after[0] === `${wanted} ASKING`) !== isAsk) return `${refusal}: ${trace.join(", ")}`
    } else if (asked < 3) return `${refusal}: it was asked ${asked} times`
    return null
  }).pipe(Effect.scoped)

const acceptedReply = (name: string, scene: Scene): string => {
  if (!scene.isTransaction) return FakeServer.bulk(ACCEPTED)
  if (name === "MULTI") return "+OK\r\n"
  if (name !== "EXEC") return "+QUEUED\r\n"
  const count = scene.commands.length - 2
  return FakeServer.array(...Array.from({ length: count }, () => FakeServer.bulk(ACCEPTED)))
}

/** A map in which the asked node has the slot, as its neighbours have the rest. */
const slotsReply = (ports: ReadonlyMap<string, number>, on: string, slot: number): string => {
  const node = (name: string) =>
    FakeServer.array(
      FakeServer.bulk("127.0.0.1"),
      `:${ports.get(name) ?? 1}\r\n`,
      FakeServer.bulk(name.padEnd(40, "0")),
      "*0\r\n"
    )
  const range = (from: number, to: number, name: string) => FakeServer.array(`:${from}\r\n`, `:${to}\r\n`, node(name))
  if (slot < 0) return FakeServer.array(range(0, 16_383, on))
  const others = names.filter((name) => name !== on).slice(0, 2)
  const parts = [range(slot, slot, on)]
  if (slot > 0) parts.push(range(0, slot - 1, others[0] ?? "B"))
  if (slot < 16_383) parts.push(range(slot + 1, 16_383, others[1] ?? "C"))
  return FakeServer.array(...parts)
}

const errorOf = (exit: Exit.Exit<unknown, RedisError>): RedisError | undefined => {
  const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
  return reason?._tag === "Fail" ? reason.error : undefined
}

/** What has keys of several slots is not sent as it is. */
const crossing = (scene: Scene, exit: Exit.Exit<unknown, RedisError>): string | null => {
  const error = errorOf(exit)
  if (error?.reason._tag === "RedisArgumentError") return /CROSSSLOT/.test(error.message) ? null : error.message
  return splitCommand(scene.commands[0] ?? [], "reads") === undefined
    ? "keys of several slots were sent in one command"
    : null
}

/** What is the caller's is given to the caller, as it is. */
const settled = (scene: Scene, exit: Exit.Exit<unknown, RedisError>, fill: (text: string) => string): string | null => {
  const last = scene.replies[scene.replies.length - 1]
  const expected = decode(encodeReply(last, 3, fill))
  const error = errorOf(exit)
  if (expected instanceof Resp.ReplyError) {
    if (error === undefined)
      return `the server's error became ${Exit.isSuccess(exit) ? JSON.stringify(exit.value) : "nothing"}`
    const { reason } = error
    const code =
      reason instanceof Resp.ReplyError ? reason.code : reason._tag === "TransactionAborted" ? "EXECABORT" : reason._tag
    return code === expected.code || (reason._tag === "TransactionAborted" && scene.isTransaction)
      ? null
      : `${expected.message} became ${error.message}`
  }
  if (!Exit.isSuccess(exit)) return `it failed: ${error?.message ?? String(exit)}`
  return shown(exit.value) === shown(expected) ? null : `expected ${shown(expected)}, got ${shown(exit.value)}`
}

const shown = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) =>
    item instanceof Map ? [...item] : item instanceof Set ? [...item] : typeof item === "bigint" ? String(item) : item
  )

/** Checks all scenes of these rows. */
export const checkLive = (rows: ReadonlyArray<Json>): Effect.Effect<ReadonlyArray<Result>> =>
  Effect.forEach(
    rows.flatMap(scenesOf),
    (scene) =>
      Effect.map(
        Effect.catchCause(run(scene), (cause) => Effect.succeed(`it died: ${String(cause)}`)),
        (problem): Result => ({ id: scene.id, problem })
      ),
    { concurrency: 8 }
  )

/**
 * Commands that are collected and sent together: BullMQ's `multi` and `pipeline`.
 *
 * @internal
 */
import { fromReply } from "@relive/core/PlainReply"
import type { PlainReply } from "@relive/core/PlainReply"
import { RedisError } from "@relive/core/RedisError"
import type { Argument, Command } from "@relive/core/Resp"
import type { PipelineReply } from "@relive/core/RedisService"
import type { IRedisTransaction } from "bullmq"
import * as commands from "./commands.ts"
import type { Script } from "./hub.ts"

type Send = (all: ReadonlyArray<Command>) => Promise<ReadonlyArray<PipelineReply>>

export class Transaction implements IRedisTransaction {
  private readonly scripts: ReadonlyMap<string, Script>
  private readonly send: Send
  private readonly queued: Array<ReadonlyArray<Argument>> = []
  /** The texts of the scripts in it, each sent once, before the rest: the server may have forgotten them at any moment. */
  private readonly texts = new Set<string>()

  constructor(scripts: ReadonlyMap<string, Script>, send: Send) {
    this.scripts = scripts
    this.send = send
  }

  private add(...command: ReadonlyArray<Argument>): this {
    this.queued.push(command)
    return this
  }

  hgetall(key: string): this {
    return this.add("HGETALL", key)
  }

  hset(key: string, data: Record<string, string | number>): this {
    return this.add("HSET", key, ...commands.flat(data))
  }

  hscan(key: string, cursor: string | number, options?: { COUNT?: number }): this {
    return this.add("HSCAN", key, cursor, ...countOf(options))
  }

  smembers(key: string): this {
    return this.add("SMEMBERS", key)
  }

  sscan(key: string, cursor: string | number, options?: { COUNT?: number }): this {
    return this.add("SSCAN", key, cursor, ...countOf(options))
  }

  zrange(key: string, start: number, end: number): this {
    return this.add("ZRANGE", key, start, end)
  }

  lrange(key: string, start: number, end: number): this {
    return this.add("LRANGE", key, start, end)
  }

  llen(key: string): this {
    return this.add("LLEN", key)
  }

  del(...keys: Array<string>): this {
    return this.add("DEL", ...keys)
  }

  runCommand(name: string, args: ReadonlyArray<unknown>): this {
    const script = this.scripts.get(name)
    if (script === undefined) throw new Error(`BullMQ has not defined the script ${name}`)
    this.texts.add(script.plain.lua)
    return this.add("EVALSHA", script.plain.sha, script.numberOfKeys, ...commands.argumentsOf(args))
  }

  async exec(): Promise<Array<[Error | null, PlainReply]> | null> {
    if (this.queued.length === 0) return []
    const loads = Array.from(this.texts, (lua) => ["SCRIPT", "LOAD", lua])
    const replies = await this.send([...loads, ...this.queued])
    return this.queued.map((command, index) => resultOf(command, replies[loads.length + index] ?? null))
  }
}

const countOf = (options: { readonly COUNT?: number } = {}): ReadonlyArray<string | number> =>
  options.COUNT === undefined ? [] : ["COUNT", options.COUNT]

type Failure = Extract<PipelineReply, { readonly _tag: string }>

const isFailure = (reply: PipelineReply): reply is Failure =>
  typeof reply === "object" && reply !== null && "_tag" in reply

const resultOf = (command: ReadonlyArray<Argument>, reply: PipelineReply): [Error | null, PlainReply] =>
  isFailure(reply) ? [new RedisError({ reason: reply }), null] : [null, fromReply(command, reply)]

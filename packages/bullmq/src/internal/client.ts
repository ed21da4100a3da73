/**
 * BullMQ's `IRedisClient`: a view of the shared connection, with a life of its own and, for what blocks, a lease of its own.
 *
 * BullMQ takes a client for a connection: it duplicates, disconnects and reconnects it. A view that ends cuts off its own calls and
 * touches no other.
 *
 * @internal
 */
import { fromReply } from "@relive/core/PlainReply"
import type { PlainReply } from "@relive/core/PlainReply"
import { RedisError } from "@relive/core/RedisError"
import type { PipelineReply, Service, StatusChange } from "@relive/core/RedisService"
import type { Command } from "@relive/core/Resp"
import { ConnectionClosedError } from "bullmq"
import type { IRedisTransaction } from "bullmq"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { EventEmitter } from "node:events"
import { Readable } from "node:stream"
import type { Client as Public } from "../BullMQConnection.ts"
import * as commands from "./commands.ts"
import { isPassing } from "./hub.ts"
import type { Hub, Listener } from "./hub.ts"
import { Transaction } from "./transaction.ts"

type Fields = Record<string, string | number>

/** `closing`: what is under way may finish, and is not repeated. */
type State = "ready" | "closing" | "end"

const closedError = (cause?: unknown): ConnectionClosedError =>
  new ConnectionClosedError(undefined, cause instanceof Error ? cause : undefined)

export class Client extends EventEmitter implements Public {
  readonly isCluster = false
  readonly options: Record<string, unknown> = {}
  private readonly hub: Hub
  private readonly name: string | undefined
  private readonly listener: Listener
  private setName: string | undefined
  private state: State = "ready"
  private underWay = new Set<Promise<unknown>>()
  private ended = new AbortController()
  /** From where streams are read that were to be read from now on. */
  private readonly starts = new Map<string, Promise<string>>()
  /** The lease for what blocks, while there is one. */
  private lease: { readonly service: Service; readonly scope: Scope.Closeable } | undefined = undefined

  constructor(hub: Hub, name: string | undefined) {
    super()
    this.hub = hub
    this.name = name
    this.listener = { onChange: (change) => this.onChange(change) }
    hub.listen(this.listener)
  }

  // ------------------------------------------------------------------------------------------------------------- life

  get status(): string {
    return this.state === "end" ? "end" : "ready"
  }

  /** BullMQ says so itself when it has closed a client. */
  set status(status: string) {
    if (status === "end") this.end()
  }

  private onChange({ cause, state }: StatusChange): void {
    if (this.state !== "ready") return
    if (state === "ready") this.emit("ready")
    else if (state === "backoff") this.emit("close")
    else if (state === "failed" && cause !== undefined && this.listenerCount("error") > 0) this.emit("error", cause)
    else if (state === "closed") this.disconnect()
  }

  async connect(): Promise<void> {
    if (this.state === "end") {
      this.ended = new AbortController()
      this.state = "ready"
      this.hub.listen(this.listener)
    }
    await this.hub.service
    this.emit("ready")
  }

  disconnect(reconnect = false): void {
    const was = this.state
    this.end()
    if (was !== "end") {
      this.emit("close")
      this.emit("end")
    }
    if (reconnect)
      this.connect().catch((error: unknown) => this.listenerCount("error") > 0 && this.emit("error", error))
  }

  /** Calls under way finish first, except blocking ones. */
  async quit(): Promise<string> {
    if (this.state !== "end") {
      this.state = "closing"
      this.dropLease()
      await Promise.allSettled([...this.underWay])
      this.end()
    }
    setImmediate(() => {
      this.emit("close")
      this.emit("end")
    })
    return "OK"
  }

  async close(): Promise<void> {
    await this.quit()
    await this.hub.close()
  }

  duplicate(options?: { readonly connectionName?: string }): Client {
    return new Client(this.hub, options?.connectionName)
  }

  private end(): void {
    this.state = "end"
    this.ended.abort()
    this.dropLease()
    this.hub.unlisten(this.listener)
  }

  // ------------------------------------------------------------------------------------------------------------ calls

  private readonly isWanted = () => this.state === "ready"

  /** Runs an effect on the service until the client ends; what is cut off is a closed connection for BullMQ. */
  private run<A>(effect: (service: Service) => Effect.Effect<A, RedisError>): Promise<A> {
    if (this.state === "end") return Promise.reject(closedError())
    const { signal } = this.ended
    const running = this.hub.service
      .then((service) => Effect.runPromise(effect(service), { signal }))
      .catch((error: unknown) => {
        throw signal.aborted || isEnd(error) ? closedError(error) : error
      })
    this.underWay.add(running)
    const done = () => void this.underWay.delete(running)
    running.then(done, done)
    return running
  }

  /** A command that may be repeated, in node-redis's shapes. The caller knows what it returns. */
  private call<A extends PlainReply>(command: Command): Promise<A> {
    return this.run((service) =>
      Effect.map(this.hub.repeated(service.command(command), this.isWanted), (reply) => fromReply(command, reply) as A)
    )
  }

  /**
   * A command that blocks, on the client's lease; `key` says on which node of a cluster that is. `null` when it was cut off by a lost
   * connection: BullMQ looks again then.
   */
  private block(key: string, command: Command): Promise<PlainReply> {
    return this.run((service) => {
      const blocked = Effect.flatMap(this.leased(service, key), (lease) => lease.command(command))
      return Effect.catch(
        Effect.map(blocked, (reply) => fromReply(command, reply)),
        (error): Effect.Effect<PlainReply, RedisError> => {
          this.dropLease()
          // A lease that was lost is `closed` for good; the connection is when it says `shutdown`.
          const isLost = error.reason._tag === "ConnectionError" && error.reason.kind === "closed"
          return this.isWanted() && (isLost || isPassing(error))
            ? Effect.as(Effect.sleep("50 millis"), null)
            : Effect.fail(error)
        }
      )
    })
  }

  /** The lease, with its name, under which `CLIENT LIST` shows it and BullMQ finds its workers. */
  private leased(service: Service, key: string): Effect.Effect<Service, RedisError> {
    if (this.lease !== undefined) return Effect.succeed(this.lease.service)
    const name = this.setName ?? this.name
    const named = Effect.gen(function* () {
      const lease = yield* service.lease({ route: key })
      if (name !== undefined) yield* lease.command(["CLIENT", "SETNAME", name])
      return lease
    })
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen({ self: this }, function* () {
        const scope = yield* Scope.make()
        const close = Scope.close(scope, Exit.void)
        const lease = yield* Effect.onError(restore(Scope.provide(named, scope)), () => close)
        if (this.state === "ready" && this.lease === undefined) {
          this.lease = { service: lease, scope }
          return lease
        }
        // The client has ended, or another call was first.
        yield* close
        return this.lease?.service ?? lease
      })
    )
  }

  private dropLease(): void {
    const { lease } = this
    this.lease = undefined
    if (lease !== undefined) void Effect.runFork(Scope.close(lease.scope, Exit.void))
  }

  // ---------------------------------------------------------------------------------------------------------- scripts

  defineCommand(name: string, definition: { readonly numberOfKeys: number; readonly lua: string }): void {
    this.hub.define(name, definition.lua, definition.numberOfKeys)
  }

  runCommand(name: string, args: ReadonlyArray<unknown>): Promise<PlainReply> {
    const script = this.hub.scripts.get(name)
    if (script === undefined) return Promise.reject(new Error(`BullMQ has not defined the script ${name}`))
    return this.run((service) =>
      Effect.map(this.hub.script(service, script, commands.argumentsOf(args), this.isWanted), (reply) =>
        fromReply(["EVALSHA"], reply)
      )
    )
  }

  multi(): IRedisTransaction {
    return this.transaction((service, all) => service.transaction(all))
  }

  pipeline(): IRedisTransaction {
    return this.transaction((service, all) => service.pipeline(all))
  }

  private transaction(
    send: (service: Service, all: ReadonlyArray<Command>) => Effect.Effect<ReadonlyArray<PipelineReply>, RedisError>
  ): Transaction {
    // A call that was not sent may be sent; one that was, may have run.
    return new Transaction(this.hub.scripts, (all) =>
      this.run((service) =>
        Effect.retry(send(service, all), {
          schedule: this.hub.schedule,
          while: (error) => this.isWanted() && error.isRetryable
        })
      )
    )
  }

  // --------------------------------------------------------------------------------------------------------- commands

  hgetall(key: string): Promise<Record<string, string>> {
    return this.call(["HGETALL", key])
  }

  hget(key: string, field: string): Promise<string | null> {
    return this.call(["HGET", key, field])
  }

  hmget(key: string, ...fields: Array<string>): Promise<Array<string | null>> {
    return this.call(["HMGET", key, ...fields])
  }

  hset(key: string, data: Fields): Promise<number> {
    return this.call(["HSET", key, ...commands.flat(data)])
  }

  hdel(key: string, ...fields: Array<string>): Promise<number> {
    return this.call(["HDEL", key, ...fields])
  }

  hexists(key: string, field: string): Promise<number> {
    return this.call(["HEXISTS", key, field])
  }

  get(key: string): Promise<string | null> {
    return this.call(["GET", key])
  }

  set(key: string, value: string | number, options: { PX?: number; EX?: number } = {}): Promise<string | null> {
    const { EX, PX } = options
    return this.call(["SET", key, value, ...(PX === undefined ? (EX === undefined ? [] : ["EX", EX]) : ["PX", PX])])
  }

  async del(...keys: Array<string>): Promise<number> {
    return keys.length === 0 ? 0 : await this.call<number>(["DEL", ...keys])
  }

  zrange(key: string, start: number, end: number, options?: { WITHSCORES?: boolean }): Promise<Array<string>> {
    return this.range("ZRANGE", key, start, end, options?.WITHSCORES === true)
  }

  zrevrange(key: string, start: number, end: number, options?: { WITHSCORES?: boolean }): Promise<Array<string>> {
    return this.range("ZREVRANGE", key, start, end, options?.WITHSCORES === true)
  }

  /** BullMQ wants members and scores in one flat array of texts. */
  private async range(name: string, key: string, start: number, end: number, scores: boolean): Promise<Array<string>> {
    if (!scores) return this.call([name, key, start, end])
    const pairs = await this.call<ReadonlyArray<readonly [string, number]>>([name, key, start, end, "WITHSCORES"])
    return pairs.flatMap(([member, score]) => [member, String(score)])
  }

  zcard(key: string): Promise<number> {
    return this.call(["ZCARD", key])
  }

  async zscore(key: string, member: string): Promise<string | null> {
    const score = await this.call<number | null>(["ZSCORE", key, member])
    return score === null ? null : String(score)
  }

  lrange(key: string, start: number, end: number): Promise<Array<string>> {
    return this.call(["LRANGE", key, start, end])
  }

  llen(key: string): Promise<number> {
    return this.call(["LLEN", key])
  }

  ltrim(key: string, start: number, end: number): Promise<string> {
    return this.call(["LTRIM", key, start, end])
  }

  lpos(key: string, value: string): Promise<number | null> {
    return this.call(["LPOS", key, value])
  }

  smembers(key: string): Promise<Array<string>> {
    return this.call(["SMEMBERS", key])
  }

  /** An entry with an id of its own may be added once: so it is not repeated when it may have been. */
  xadd(key: string, id: string, fields: Fields, options?: { MAXLEN?: number; approximate?: boolean }): Promise<string> {
    const command = ["XADD", key, ...commands.maxlen(options), id, ...commands.flat(fields)]
    return this.run((service) =>
      Effect.map(
        Effect.retry(service.command(command), {
          schedule: this.hub.schedule,
          while: (error) => this.isWanted() && error.isRetryable
        }),
        String
      )
    )
  }

  xtrim(key: string, strategy: "MAXLEN", threshold: number, options?: { approximate?: boolean }): Promise<number> {
    return this.call(["XTRIM", key, strategy, ...(options?.approximate === false ? [] : ["~"]), threshold])
  }

  /** As ioredis gives it: an array of streams, each a name and its entries. */
  async xread(
    streams: Array<{ key: string; id: string }>,
    options: { BLOCK?: number; COUNT?: number } = {}
  ): Promise<Array<[string, PlainReply]> | null> {
    const { BLOCK, COUNT } = options
    const ids = await Promise.all(streams.map(({ id, key }) => (id === "$" ? this.fromNow(key) : id)))
    const command = [
      "XREAD",
      ...(COUNT === undefined ? [] : ["COUNT", COUNT]),
      ...(BLOCK === undefined ? [] : ["BLOCK", BLOCK]),
      "STREAMS",
      ...streams.map(({ key }) => key),
      ...ids
    ]
    const reply =
      BLOCK === undefined ? await this.call<PlainReply>(command) : await this.block(streams[0]?.key ?? "", command)
    return reply === null || typeof reply !== "object" ? null : Object.entries(reply)
  }

  /**
   * The last id of a stream, once: `$` is the moment in which it was first asked for, and what came between two of BullMQ's reads,
   * or while a lease was opened, is not missed.
   */
  private fromNow(key: string): Promise<string> {
    let id = this.starts.get(key)
    if (id === undefined) {
      id = this.call<ReadonlyArray<readonly [string, PlainReply]>>(["XREVRANGE", key, "+", "-", "COUNT", 1]).then(
        (entries) => entries[0]?.[0] ?? "0-0"
      )
      // A question that failed is asked again.
      id.catch(() => this.starts.delete(key))
      this.starts.set(key, id)
    }
    return id
  }

  async bzpopmin(key: string, timeout: number): Promise<[key: string, member: string, score: string] | null> {
    const reply = await this.block(key, ["BZPOPMIN", key, timeout])
    return Array.isArray(reply) ? [String(reply[0]), String(reply[1]), String(reply[2])] : null
  }

  // ----------------------------------------------------------------------------------------------------------- server

  info(): Promise<string> {
    return this.call(["INFO"])
  }

  /**
   * The shared connection has the name that it was given by its option `name`. This one is for the client's lease, from which it
   * waits for jobs or events.
   */
  async clientSetName(name: string): Promise<string> {
    if (name !== this.setName) {
      this.setName = name
      this.dropLease()
    }
    return "OK"
  }

  clientList(): Promise<string> {
    return this.call(["CLIENT", "LIST"])
  }

  clientInfo(): Promise<string> {
    return this.call(["CLIENT", "INFO"])
  }

  scan(cursor: string | number, options: { MATCH?: string; COUNT?: number } = {}): Promise<[string, Array<string>]> {
    const { COUNT, MATCH } = options
    return this.call([
      "SCAN",
      cursor,
      ...(MATCH === undefined ? [] : ["MATCH", MATCH]),
      ...(COUNT === undefined ? [] : ["COUNT", COUNT])
    ])
  }

  scanStream({ count, match }: { match: string; count?: number }): Readable {
    const scan = (cursor: string) =>
      this.scan(cursor, { MATCH: match, ...(count === undefined ? {} : { COUNT: count }) })
    return Readable.from(
      (async function* () {
        let cursor = "0"
        do {
          const [next, keys] = await scan(cursor)
          cursor = next
          yield keys
        } while (cursor !== "0")
      })()
    )
  }
}

/** The connection is closed for good. */
const isEnd = (error: unknown): boolean =>
  error instanceof RedisError &&
  error.reason._tag === "ConnectionError" &&
  (error.reason.kind === "shutdown" || error.reason.kind === "closed")

/**
 * The parts that all clients of one connection share: the service, the scripts, and how a call is repeated.
 *
 * @internal
 */
import type { RedisError } from "@relive/core/RedisError"
import type { Service, StatusChange } from "@relive/core/RedisService"
import type { Argument, Reply } from "@relive/core/Resp"
import * as Effect from "effect/Effect"
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import type { Options } from "../BullMQConnection.ts"
import { isJournaled, Journal, wrap } from "./journal.ts"

/** A script by its text and its digest. */
export interface Source {
  readonly lua: string
  readonly sha: string
}

export interface Script {
  readonly numberOfKeys: number
  readonly plain: Source
  /** With notes, where it needs them to be repeated. */
  readonly repeatable: Source
  readonly isJournaled: boolean
}

/** A listener to the connection. */
export interface Listener {
  readonly onChange: (change: StatusChange) => void
}

const sourceOf = (lua: string): Source => ({ lua, sha: createHash("sha1").update(lua).digest("hex") })

/** The pause before a call is made again. It does not grow: what is cut off by a reconnect is wanted at once. */
const pause = Schedule.spaced("50 millis").pipe(Schedule.jittered)

/** The connection, not the server or the caller, failed it, and it may come back. */
export const isPassing = ({ reason }: RedisError): boolean =>
  reason._tag === "TimeoutError" ||
  (reason._tag === "ConnectionError" && reason.kind !== "shutdown" && reason.kind !== "closed") ||
  (reason._tag === "ReplyError" && passing.has(reason.code))

/** The server is not ready, or not the one to ask, and a failover or its start will change that. */
const passing: ReadonlySet<string> = new Set([
  "LOADING",
  "READONLY",
  "MASTERDOWN",
  "TRYAGAIN",
  "CLUSTERDOWN",
  "UNBLOCKED"
])

const isUnknownScript = ({ reason }: RedisError): boolean => reason._tag === "ReplyError" && reason.code === "NOSCRIPT"

export class Hub {
  readonly scripts = new Map<string, Script>()
  readonly journal = new Journal()
  private readonly listeners = new Set<Listener>()
  private readonly open: () => Promise<Service>
  private readonly dispose: () => Promise<void>
  readonly schedule: Schedule.Schedule<unknown, RedisError>
  private opened: Promise<Service> | undefined
  private readonly watching = new AbortController()

  constructor(open: () => Promise<Service>, dispose: () => Promise<void>, options: Options) {
    this.open = open
    this.dispose = dispose
    this.schedule =
      options.retryFor === undefined
        ? pause
        : Schedule.upTo(pause, { duration: Duration.fromInputUnsafe(options.retryFor) })
  }

  get service(): Promise<Service> {
    if (this.opened === undefined) {
      this.opened = this.open()
      this.opened.then(
        (service) => this.watch(service),
        // Those that wait for it are told.
        () => undefined
      )
    }
    return this.opened
  }

  private watch(service: Service): void {
    const tell = (change: StatusChange) =>
      Effect.sync(() => {
        for (const { onChange } of [...this.listeners]) onChange(change)
      })
    Effect.runPromise(Stream.runForEach(service.events, tell), { signal: this.watching.signal }).catch(() => undefined)
  }

  listen(listener: Listener): void {
    this.listeners.add(listener)
  }

  unlisten(listener: Listener): void {
    this.listeners.delete(listener)
  }

  define(name: string, lua: string, numberOfKeys: number): void {
    if (this.scripts.get(name)?.plain.lua === lua) return
    const plain = sourceOf(lua)
    const noted = isJournaled(name) && numberOfKeys > 0
    this.scripts.set(name, { numberOfKeys, plain, repeatable: noted ? sourceOf(wrap(lua)) : plain, isJournaled: noted })
  }

  /** A call that is made again until it succeeds, the server refuses it, or nobody wants it any more. */
  repeated<A>(call: Effect.Effect<A, RedisError>, wanted: () => boolean): Effect.Effect<A, RedisError> {
    return Effect.retry(call, { schedule: this.schedule, while: (error) => wanted() && isPassing(error) })
  }

  /** Runs a script so that it happens once, however often it must be sent. */
  script(
    service: Service,
    { isJournaled, numberOfKeys, repeatable: { lua, sha } }: Script,
    args: ReadonlyArray<Argument>,
    wanted: () => boolean
  ): Effect.Effect<Reply, RedisError> {
    const note = isJournaled ? this.journal.begin(String(args[0])) : undefined
    const words = note === undefined ? args : [...args, ...note.words]
    const call = Effect.catchIf(service.command(["EVALSHA", sha, numberOfKeys, ...words]), isUnknownScript, () =>
      service.command(["EVAL", lua, numberOfKeys, ...words])
    )
    const settled = this.repeated(call, wanted)
    return note === undefined ? settled : Effect.tap(settled, () => Effect.sync(note.arrived))
  }

  async close(): Promise<void> {
    this.watching.abort()
    await this.dispose()
  }
}

/**
 * `Redis.script`: a script by its digest, loaded where the server does not know it.
 *
 * @internal
 */
import { createHash } from "node:crypto"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Calls } from "../../Redis.ts"
import type { RedisError } from "../../RedisError.ts"
import type { CallOptions } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { Call } from "../call/call.ts"
import { callTimeoutMillis } from "../call/options.ts"
import { type Parked, type Recovery, Waiting } from "../call/park.ts"
import { monotonicMillis, timeoutOption } from "../clock.ts"
import { ConnectionService } from "../service/service.ts"
import { withRetry } from "./retry.ts"
import { use, type Key } from "./use.ts"

/** The server does not know the script. In other words it may be an error that the script made itself, when it had run. */
const isUnknownScript = ({ reason }: RedisError): boolean =>
  reason._tag === "ReplyError" && reason.code === "NOSCRIPT" && reason.message.includes("No matching script")

const nowOf = (fiber: Fiber.Fiber<unknown, unknown>): number => monotonicMillis(Context.get(fiber.context, Clock.Clock))

/** A script, prepared once: its text and its digest. */
interface Source {
  readonly lua: string
  readonly sha: string
}

/**
 * A call of a script by its digest. It costs what a command costs: it is waited for in one step, and only its failure is
 * looked at.
 */
class ScriptEffect<Self> extends Waiting<Resp.Reply, RedisError, Self> implements Recovery<Resp.Reply, RedisError> {
  private readonly tag: Key<Self>
  private readonly source: Source
  private readonly readOnly: boolean
  private readonly keys: ReadonlyArray<Resp.Argument>
  private readonly args: ReadonlyArray<Resp.Argument>
  private readonly options: CallOptions | undefined

  constructor(
    tag: Key<Self>,
    source: Source,
    readOnly: boolean,
    keys: ReadonlyArray<Resp.Argument>,
    args: ReadonlyArray<Resp.Argument>,
    options: CallOptions | undefined
  ) {
    super()
    this.tag = tag
    this.source = source
    this.readOnly = readOnly
    this.keys = keys
    this.args = args
    this.options = options
  }

  private words(name: string, body: string): Resp.Command {
    return [name, body, this.keys.length, ...this.keys, ...this.args]
  }

  protected override submit(fiber: Fiber.Fiber<unknown, unknown>) {
    const service = Context.getUnsafe(fiber.context, this.tag)
    const command = this.words(this.readOnly ? "EVALSHA_RO" : "EVALSHA", this.source.sha)
    if (service instanceof ConnectionService) {
      const submitted = service.submitCommand(command, this.options)
      if (submitted instanceof Call) submitted.recovery = this
      return submitted
    }
    const now = nowOf(fiber)
    return Effect.catchIf(service.command(command, this.options), isUnknownScript, () => {
      const total = callTimeoutMillis(this.options, service.timeoutMillis)
      return typeof total === "number" ? this.inFull(now + total) : Effect.fail(total)
    })
  }

  /** Called with each failure. */
  recover(
    call: Parked<Resp.Reply, RedisError>,
    exit: Exit.Exit<Resp.Reply, RedisError>
  ): Effect.Effect<Resp.Reply, RedisError> {
    if (Exit.isSuccess(exit)) return exit
    const reason = exit.cause.reasons[0]
    if (reason === undefined || !Cause.isFailReason(reason) || !isUnknownScript(reason.error)) return exit
    return this.inFull(call instanceof Call && call.deadline !== 0 ? call.deadline : Infinity)
  }

  /** `EVAL` loads the script and runs it in one step, so nothing can come between. There is one deadline for both calls. */
  private inFull(deadline: number): Effect.Effect<Resp.Reply, RedisError> {
    return Effect.withFiber((fiber) => {
      const timeout = timeoutOption(deadline - nowOf(fiber))
      const service = Context.getUnsafe(fiber.context, this.tag)
      return service.command(this.words(this.readOnly ? "EVAL_RO" : "EVAL", this.source.lua), {
        ...this.options,
        timeout
      })
    })
  }
}

export const makeScripts =
  <Self>(tag: Key<Self>): Calls<Self>["script"] =>
  (lua) => {
    const source = { lua, sha: createHash("sha1").update(lua).digest("hex") }
    return (keys = [], args = [], options) => {
      if (options === undefined) return new ScriptEffect(tag, source, false, keys, args, undefined)
      const { readOnly = false, ...own } = options
      const { retry } = own
      const run = (attempt: CallOptions) => new ScriptEffect(tag, source, readOnly, keys, args, attempt)
      if (retry === undefined || retry === false) return run(own)
      return use(tag, (service) => withRetry(retry, own, service.timeoutMillis, false, run))
    }
  }

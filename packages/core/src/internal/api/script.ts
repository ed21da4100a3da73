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
import * as Schema from "effect/Schema"
import type { Calls, Script, ScriptTypes, TypedScript } from "../../Redis.ts"
import type { RedisError } from "../../RedisError.ts"
import type { CallOptions } from "../../RedisService.ts"
import * as Resp from "../../Resp.ts"
import { Call } from "../call/call.ts"
import { callTimeoutMillis } from "../call/options.ts"
import { type Parked, type Recovery, Waiting } from "../call/park.ts"
import { monotonicMillis, timeoutOption } from "../clock.ts"
import { argumentError, redisError } from "../errors.ts"
import { ConnectionService } from "../service/service.ts"
import { fitReply, Misfit } from "./fit.ts"
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

const makePlain =
  <Self>(tag: Key<Self>) =>
  (lua: string): Script<Self> => {
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

const doesNotFit = (message: string): RedisError =>
  redisError(new Resp.DecodeError("schema", `The reply of the script does not fit the schema: ${message}`))

const makeTyped = <
  Self,
  const Names extends ReadonlyArray<string>,
  const Args extends ReadonlyArray<unknown>,
  A,
  Encoded
>(
  run: Script<Self>,
  { arguments: schema, keys: names, reply }: ScriptTypes<Names, Args, A, Encoded>
): TypedScript<Self, Names, Args, A> => {
  const encode = Schema.encodeUnknownEffect(schema)
  const decode = Schema.decodeUnknownEffect(reply)
  return (keys, args, options) => {
    const named: Readonly<Record<string, string | Uint8Array>> = keys
    const missing = names.find((name) => named[name] === undefined)
    if (missing !== undefined) return Effect.fail(argumentError(`The script needs the key \`${missing}\``))
    return encode(args).pipe(
      // A message about them would show them.
      Effect.mapError(() => argumentError("The arguments of the script do not fit their schema")),
      Effect.flatMap((words) =>
        run(
          names.map((name) => named[name]),
          words,
          options
        )
      ),
      Effect.flatMap((received) => {
        const fitted = fitReply(reply, ["EVAL"], received)
        if (fitted instanceof Misfit) return Effect.fail(doesNotFit(fitted.message))
        return Effect.mapError(decode(fitted), (cause) => doesNotFit(cause.message))
      })
    )
  }
}

export const makeScripts = <Self>(tag: Key<Self>): Calls<Self>["script"] => {
  const plain = makePlain(tag)
  function script<const Names extends ReadonlyArray<string>, const Args extends ReadonlyArray<unknown>, A, Encoded>(
    lua: string,
    types: ScriptTypes<Names, Args, A, Encoded>
  ): TypedScript<Self, Names, Args, A>
  function script(lua: string): Script<Self>
  function script<const Names extends ReadonlyArray<string>, const Args extends ReadonlyArray<unknown>, A, Encoded>(
    lua: string,
    types?: ScriptTypes<Names, Args, A, Encoded>
  ): TypedScript<Self, Names, Args, A> | Script<Self> {
    const run = plain(lua)
    return types === undefined ? run : makeTyped(run, types)
  }
  return script
}

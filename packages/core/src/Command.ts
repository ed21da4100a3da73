/**
 * A command as a value: its words, and how its reply is read.
 *
 * A `Command` is an effect, so `yield* Commands.get("k")` runs it on the default service; and it is plain data, so the same
 * value goes into a pipeline or a transaction, onto an instance of your own, or is run with the options of a call:
 *
 * ```ts
 * import { Command, Redis } from "@relive/core"
 * import { Effect } from "effect"
 *
 * const length = Command.make(["STRLEN", "greeting"])
 *
 * const program = Effect.gen(function* () {
 *   const alone = yield* length
 *   const [first, second] = yield* Redis.pipeline([length, ["PING"]])
 *   const patient = yield* Redis.command(length, { timeout: "30 seconds" })
 *   return [alone, first, second, patient] as const
 * })
 * ```
 *
 * `@relive/commands` has a function for each command of today's servers that makes such a value. Commands of your own come
 * from `define`, or from `make` with a reader written by hand.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as internal from "./internal/api/command.ts"
import type { Reader } from "./Reader.ts"
import type { RedisArgumentError, RedisError } from "./RedisError.ts"
import type { CallOptions, PipelineReply, RedisService, Service } from "./RedisService.ts"
import type * as Resp from "./Resp.ts"

const TypeId: typeof internal.TypeId = internal.TypeId

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * A command whose reply is an `A`, or a `B` with `decode: "bytes"`. As an effect it runs on `RedisService`, with the
 * connection's options.
 *
 * - `args`: its words, as `Redis.command` takes them
 * - `reply`: how its reply is read
 * - `failure`: what is wrong with its arguments; then running it fails with this, and nothing is sent
 *
 * @category models
 * @since 0.1.0
 */
export interface Command<out A, out B = A> extends Effect.Effect<A, RedisError, RedisService> {
  readonly [TypeId]: typeof TypeId
  readonly args: Resp.Command
  readonly reply: Reader<A, B>
  readonly failure: RedisArgumentError | undefined
}

/**
 * The elements of a pipeline: typed commands, and commands as arrays.
 *
 * @category models
 * @since 0.1.0
 */
export type Any = Resp.Command | Command<unknown, unknown>

/**
 * An element without a reply in the result of a pipeline or transaction: the server's error, or why there is no reply. All of
 * these have a `_tag`.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure = Resp.ReplyError | Exclude<PipelineReply, Resp.Reply>

/**
 * The results of a pipeline or transaction, in the order of its commands.
 *
 * @category models
 * @since 0.1.0
 */
export type Replies<Cs> = {
  readonly [I in keyof Cs]: Cs[I] extends Command<infer A, infer _B> ? A | Failure : PipelineReply
}

/**
 * The results of a pipeline or transaction with `decode: "bytes"`.
 *
 * @category models
 * @since 0.1.0
 */
export type BytesReplies<Cs> = {
  readonly [I in keyof Cs]: Cs[I] extends Command<infer _A, infer B> ? B | Failure : PipelineReply
}

/**
 * The schema `S` if it can read the value `A` of a command, else `never`: it must take `null` where the command may give
 * it, and its encoded side must be comparable with the rest. Any schema may read a `Resp.Reply`.
 *
 * @category models
 * @since 0.1.0
 */
export type Fits<S extends Schema.Constraint, A> = [Resp.Reply] extends [A]
  ? S
  : [Extract<A, null>] extends [S["Encoded"]]
    ? [NonNullable<S["Encoded"]>] extends [NonNullable<A>]
      ? S
      : [NonNullable<A>] extends [NonNullable<S["Encoded"]>]
        ? S
        : never
    : never

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * A command of these words. Without a reader its value is the reply as it came.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: {
  (args: Resp.Command): Command<Resp.Reply>
  <A, B>(args: Resp.Command, reply: Reader<A, B>): Command<A, B>
} = internal.make

/**
 * A command whose arguments are wrong: running it, or what contains it, fails with a `RedisArgumentError` of this detail,
 * and nothing is sent. `detail` must name no value.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fail: (name: string, detail: string) => Command<never> = internal.fail

/**
 * A function that makes commands of your own: of a module, of a newer server, or a script's (`FCALL`), with typed
 * arguments and reply.
 *
 * - `name`: the first words
 * - `arguments`: a schema of the arguments as you want to give them, encoded to the words that follow
 * - `reply`: a schema that decodes the reply as it came; `decode: "bytes"` gives its encoded side bytes
 *
 * Arguments that do not fit make a command that fails with `RedisArgumentError`; a reply that does not fit is a
 * `DecodeError`. For keys to get a `keyPrefix` the command must be known to `CommandTable`.
 *
 * ```ts
 * import { Command } from "@relive/core"
 * import { Schema } from "effect"
 *
 * const throttle = Command.define({
 *   name: ["CL.THROTTLE"],
 *   arguments: Schema.Tuple([Schema.String, Schema.Int, Schema.Int, Schema.Int]),
 *   reply: Schema.Tuple([Schema.Int, Schema.Int, Schema.Int, Schema.Int, Schema.Int])
 * })
 * const program = throttle("user:1", 15, 30, 60)
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const define: <const Args extends ReadonlyArray<unknown>, A, Encoded>(options: {
  readonly name: readonly [string, ...ReadonlyArray<string>]
  readonly arguments: Schema.Codec<Args, ReadonlyArray<Resp.Argument>>
  readonly reply: Schema.Codec<A, Encoded>
}) => (...args: Args) => Command<A> = internal.define

// -----------------------------------------------------------------------------
// Combinators
// -----------------------------------------------------------------------------

/**
 * The same command with its value decoded by a schema: for pipelines and transactions, where each command has a schema of
 * its own. (Alone, `Redis.command(command, { schema })` does the same, also with a schema that needs services.) A value that
 * does not fit is a `DecodeError` in its place.
 *
 * ```ts
 * import { Command, Redis } from "@relive/core"
 * import { Schema } from "effect"
 *
 * const name = Command.make(["GET", "name"])
 * const age = Command.withSchema(Command.make(["GET", "age"]), Schema.FiniteFromString)
 * const program = Redis.pipeline([name, age])
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const withSchema = <A, B, S extends Schema.Codec<unknown, unknown>>(
  command: Command<A, B>,
  schema: S & Fits<S, A>
): Command<S["Type"]> => internal.withSchema(command, schema)

/**
 * The numbers of a value as `bigint`.
 *
 * @category models
 * @since 0.1.0
 */
export type BigInts<A> = A extends number
  ? bigint
  : A extends ReadonlyArray<number | null>
    ? { readonly [I in keyof A]: A[I] extends number ? bigint : bigint | null }
    : A

/**
 * The same command with its integers as `bigint`, exactly: for counters that may leave the safe integers, where the command
 * itself fails with a `DecodeError` instead of rounding.
 *
 * @category combinators
 * @since 0.1.0
 */
export const asBigInt: <A extends number | null | ReadonlyArray<number | null>>(
  command: Command<A, unknown>
) => Command<BigInts<A>> = internal.asBigInt

/**
 * Runs commands on this service: on a lease, where commands as values have no other way.
 *
 * ```ts
 * import { Command, Redis } from "@relive/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const run = Command.on(yield* Redis.lease)
 *     yield* run(Command.make(["SELECT", 3]))
 *     return yield* run(Command.make(["DBSIZE"]), { timeout: "1 second" })
 *   })
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const on: (service: Service) => {
  <A, B>(command: Command<A, B>, options: CallOptions & { readonly decode: "bytes" }): Effect.Effect<B, RedisError>
  <A, B>(
    command: Command<A, B>,
    options?: CallOptions & { readonly decode?: "text" | undefined }
  ): Effect.Effect<A, RedisError>
} = internal.on

/**
 * Whether this is a `Command`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isCommand: (u: unknown) => u is Command<unknown, unknown> = internal.isCommand

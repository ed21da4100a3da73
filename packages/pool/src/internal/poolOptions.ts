/**
 * The options of a pool, told apart from those of its connections, and checked.
 *
 * @internal
 */
import { RedisArgumentError, RedisError } from "@relive/core/RedisError"
import * as RedisOptions from "@relive/core/RedisOptions"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { Input, Options, Strategy } from "../RedisPool.ts"

const MAX_SIZE = 10_000

/** The number of connections that a pool has by default. */
const DEFAULT_SIZE = 5

const strategies = ["leastInFlight", "random", "roundRobin", "hash"] as const

/** Checked options, with the defaults filled in. */
export interface ResolvedPool {
  readonly size: number
  readonly strategy: Strategy
  readonly moveAfterMillis: number
  readonly staggerMillis: number
  readonly connection: RedisOptions.Resolved
}

const sizeMust = `an integer from 1 to ${MAX_SIZE}`
const strategyMust = `${strategies.map((name) => JSON.stringify(name)).join(", ")}, or a function`
const durationMust = "a duration of at least 0"

const isSize = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= MAX_SIZE

const isNamed = (value: unknown): value is (typeof strategies)[number] => strategies.some((name) => name === value)

const isStrategy = (value: unknown): value is Strategy => typeof value === "function" || isNamed(value)

/** `Duration` reads NaN as 0. */
const millisOf = (input: Duration.Input): number | undefined => {
  if (Number.isNaN(input)) return undefined
  const millis = Option.getOrUndefined(Option.map(Duration.fromInput(input), Duration.toMillis))
  return millis !== undefined && millis >= 0 && Number.isFinite(millis) ? millis : undefined
}

const refuse = (name: string, must: string): Effect.Effect<never, RedisError> =>
  Effect.fail(new RedisError({ reason: new RedisArgumentError({ detail: `The option \`${name}\` must be ${must}` }) }))

const isRecord = (input: Input): input is Options =>
  Predicate.isObject(input) && !(input instanceof URL) && !Redacted.isRedacted(input)

/** Checks the options of a pool and of its connections. */
export const resolvePool = (input: Input): Effect.Effect<ResolvedPool, RedisError> => {
  const given: Options = isRecord(input) ? input : { url: input }
  const { moveAfter = 50, size = DEFAULT_SIZE, stagger = 10, strategy = "leastInFlight", ...connection } = given
  const moveAfterMillis = millisOf(moveAfter)
  const staggerMillis = millisOf(stagger)
  if (!isSize(size)) return refuse("size", sizeMust)
  if (!isStrategy(strategy)) return refuse("strategy", strategyMust)
  if (moveAfterMillis === undefined) return refuse("moveAfter", durationMust)
  if (staggerMillis === undefined) return refuse("stagger", durationMust)
  return Effect.fromResult(RedisOptions.resolve(connection)).pipe(
    Effect.mapError((reason) => new RedisError({ reason })),
    Effect.map((resolved) => ({
      size,
      strategy,
      moveAfterMillis,
      staggerMillis,
      connection: resolved
    }))
  )
}

/** For callers without type checking: another value would be registered under a key that no look-up finds. */
export const checkName = (name: unknown): Effect.Effect<void, RedisError> =>
  name === undefined || (Predicate.isObject(name) && "key" in name && "_A" in name)
    ? Effect.void
    : refuse("register", "a name, as made by `Redis.Name` or `Registry.name`")

// ---------------------------------------------------------------------------------------------------------- environment

/** An empty variable counts as not set. */
const variable = (name: string): Config.Config<string | undefined> =>
  Config.option(Config.String(name)).pipe(Config.map((text) => Option.getOrUndefined(text) || undefined))

const read = <A>(name: string, parse: (text: string) => A | undefined, must: string): Config.Config<A | undefined> =>
  Config.mapEffect(variable(name), (text) => {
    if (text === undefined) return Effect.succeed(undefined)
    const value = parse(text)
    if (value !== undefined) return Effect.succeed(value)
    const message = `REDIS_POOL_${name} must be ${must}`
    return Effect.fail(new Config.ConfigError(new ConfigProvider.SourceError({ message })))
  })

const parseSize = (text: string): number | undefined => {
  const size = /^\d+$/.test(text) ? Number(text) : NaN
  return isSize(size) ? size : undefined
}

/** Milliseconds, or with a unit, as the options of connections are read. */
const parseMillis = (text: string): number | undefined => {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|millis|s|seconds?|m|minutes?)?$/.exec(text.trim())
  if (match === null) return undefined
  const unit = match[2] ?? "ms"
  const factor = unit.startsWith("s") ? 1000 : unit === "ms" || unit === "millis" ? 1 : 60_000
  return Number(match[1]) * factor
}

const poolConfig = Config.all({
  size: read("SIZE", parseSize, sizeMust),
  strategy: read("STRATEGY", (text) => strategies.find((name) => name === text), strategyMust),
  moveAfter: read("MOVE_AFTER", parseMillis, durationMust),
  stagger: read("STAGGER", parseMillis, durationMust)
}).pipe(Config.nested("POOL"), Config.nested("REDIS"))

/** The options in the environment: those of a connection, and `REDIS_POOL_SIZE` and its kin. */
export const poolOptionsConfig: Config.Config<Options> = Config.map(
  Config.all({ connection: RedisOptions.config, pool: poolConfig }),
  ({ connection, pool }) => ({ ...connection, ...pool })
)

/**
 * The kinds of values an option can have: what it must be (for the message), how a value is checked, and how its text form
 * (URL query, environment) is read. Nothing here shows a value: a string in the wrong place may be a password.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { Argument, Command } from "../resp/encoder.ts"
import { readHost } from "./url.ts"

/**
 * `check` gives what the option comes to, `read` the value that a text stands for (`check` takes it); both give `undefined`
 * for what is not of this kind.
 */
export interface Kind<out A, out In> {
  readonly must: string
  readonly check: (value: unknown) => A | undefined
  readonly read: (text: string) => In | undefined
}

/** The longest time a timer of the platform can be set to. */
const MAX_MILLIS = 2_147_483_647

/** Whole numbers from `min` to `max`. */
export const integer = (min: number, max: number): Kind<number, number> => ({
  must: max === Number.MAX_SAFE_INTEGER ? `a whole number from ${min}` : `a whole number from ${min} to ${max}`,
  check: (value) =>
    typeof value === "number" && Number.isInteger(value) && value >= min && value <= max ? value : undefined,
  read: (text) => (/^\d{1,16}$/.test(text) ? Number(text) : undefined)
})

/** Numbers from 1. */
export const factor: Kind<number, number> = {
  must: "a finite number from 1",
  check: (value) => (typeof value === "number" && Number.isFinite(value) && value >= 1 ? value : undefined),
  read: (text) => (/^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : undefined)
}

/** `true` and `false`; their texts are also `1`, `0`, `yes`, `no`, `on`, `off`. */
export const boolean: Kind<boolean, boolean> = {
  must: "true or false",
  check: (value) => (typeof value === "boolean" ? value : undefined),
  read: (text) => {
    const word = text.toLowerCase()
    if (["true", "1", "yes", "on"].includes(word)) return true
    return ["false", "0", "no", "off"].includes(word) ? false : undefined
  }
}

/** One of a few values, written as they are. */
export const choice = <const Values extends ReadonlyArray<string | number>>(
  ...values: Values
): Kind<Values[number], Values[number]> => ({
  must: `one of ${values.map((value) => JSON.stringify(value)).join(", ")}`,
  check: (value) => values.find((one) => one === value),
  read: (text) => values.find((one) => String(one) === text)
})

/** A duration in milliseconds, finite, at least `min`. */
export const duration = (min: number): Kind<number, number> => ({
  must: `a duration of ${min} to ${MAX_MILLIS} ms (a number of milliseconds, "5 seconds", a Duration)`,
  check: (value) => {
    const millis = toMillis(value)
    return millis !== undefined && millis >= min && millis <= MAX_MILLIS ? millis : undefined
  },
  read: readMillis
})

/** A duration in milliseconds, at least `min`, or `"infinite"`, which is `Infinity`. */
export const durationOrInfinite = (min: number): Kind<number, number> => ({
  must: `"infinite" or ${duration(min).must}`,
  check: (value) => (toMillis(value) === Infinity ? Infinity : duration(min).check(value)),
  read: (text) => (/^infinit[ey]$/i.test(text) ? Infinity : readMillis(text))
})

const toMillis = (value: unknown): number | undefined => {
  if (value === "infinite") return Infinity
  if (!isDurationInput(value)) return undefined
  try {
    return Duration.toMillis(value)
  } catch {
    return undefined
  }
}

/** `Duration` itself reads NaN as 0 and ignores unknown fields: neither may pass here. */
const isDurationInput = (value: unknown): value is Duration.Input => {
  if (typeof value === "number") return !Number.isNaN(value)
  if (typeof value === "bigint" || typeof value === "string" || Duration.isDuration(value)) return true
  if (Array.isArray(value)) return value.length === 2 && value.every((part) => Number.isFinite(part))
  if (!isPlain(value)) return false
  const parts = Object.entries(value)
  return parts.length > 0 && parts.every(([unit, amount]) => units.has(unit) && isAmount(amount))
}

const isAmount = (amount: unknown): boolean =>
  amount === undefined || (typeof amount === "number" && !Number.isNaN(amount))

const units: ReadonlySet<string> = new Set([
  "weeks",
  "days",
  "hours",
  "minutes",
  "seconds",
  "milliseconds",
  "microseconds",
  "nanoseconds"
])

const unitMillis: ReadonlyArray<readonly [unit: RegExp, millis: number]> = [
  [/^(|ms|millis?|milliseconds?)$/i, 1],
  [/^(s|secs?|seconds?)$/i, 1_000],
  [/^(m|mins?|minutes?)$/i, 60_000],
  [/^(h|hours?)$/i, 3_600_000],
  [/^(d|days?)$/i, 86_400_000]
]

/** `250` (milliseconds), `250ms`, `2s`, `2.5 seconds`, `1 minute`. */
function readMillis(text: string): number | undefined {
  const [, amount, unit = ""] = /^(\d{1,16}(?:\.\d{1,9})?)\s*([a-z]*)$/i.exec(text.trim()) ?? []
  const factor = unitMillis.find(([pattern]) => pattern.test(unit))?.[1]
  return amount === undefined || factor === undefined ? undefined : Number(amount) * factor
}

/** A host name or an IP address. */
export const host: Kind<string, string> = {
  must: "a host name or an IP address alone, without port, scheme or spaces (use `port`, or `url` for a whole URL)",
  check: (value) =>
    typeof value === "string" ? (value.startsWith("/") ? path.check(value) : readHost(value)) : undefined,
  read: (text) => text
}

/** The path of a socket; the length is the platform's to judge. */
export const path: Kind<string, string> = {
  must: "the path of a Unix socket: not empty, without NUL characters",
  check: (value) => (typeof value === "string" && value !== "" && !value.includes("\0") ? value : undefined),
  read: (text) => text
}

/** The text that `CLIENT SETNAME` and `CLIENT SETINFO` take. */
export const label: Kind<string, string> = {
  must: "a non-empty text of printable ASCII characters without spaces",
  check: (value) => (typeof value === "string" && /^[!-~]+$/.test(value) ? value : undefined),
  read: (text) => text
}

/** The same, or an empty text for none. */
export const labelOrNone: Kind<string, string> = {
  must: `${label.must}, or an empty text for none`,
  check: (value) => (value === "" ? "" : label.check(value)),
  read: (text) => text
}

/** Any text that is not empty. */
export const text: Kind<string, string> = {
  must: "a non-empty text",
  check: (value) => (typeof value === "string" && value !== "" && value.isWellFormed() ? value : undefined),
  read: (text) => text
}

/** An ACL user, or `null` for none. */
export const username: Kind<string | null, string> = {
  must: "a non-empty text without spaces or control characters, or null",
  check: (value) =>
    value === null ||
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    (typeof value === "string" && value !== "" && value.isWellFormed() && !/[\s\u0000-\u001f\u007f]/.test(value))
      ? value
      : undefined,
  read: (text) => text
}

/** A password by the name of `secret`, or `null` for none. */
export type Secret = Effect.Effect<Redacted.Redacted<string>, unknown>

/** A password: text, redacted text, or an effect of either, perhaps with a time to live; `null` for none. */
export const password: Kind<Secret | null, Redacted.Redacted<string>> = {
  must: "a text, a Redacted text, or an effect that gives one (and needs no services), or null",
  check: (value) => {
    if (value === null) return null
    const fixed = toSecret(value)
    if (fixed !== undefined) return Effect.succeed(fixed)
    return isSecretEffect(value) ? Effect.flatMap(value, suppliedSecret) : undefined
  },
  read: (text) => Redacted.make(text)
}

const lifetimes = new WeakMap<Redacted.Redacted<string>, number>()

/** How long a password holds that an effect has given, in milliseconds: for ever unless the effect has said so. */
export const lifetimeOf = (secret: Redacted.Redacted<string>): number => lifetimes.get(secret) ?? Infinity

const toSecret = (value: unknown): Redacted.Redacted<string> | undefined => {
  const text = Redacted.isRedacted(value) ? Redacted.value(value) : value
  return typeof text === "string" && text.isWellFormed() ? Redacted.make(text) : undefined
}

/** That it needs no services is the type's promise: at run time all effects look alike. */
const isSecretEffect = (value: unknown): value is Effect.Effect<unknown, unknown> => Effect.isEffect(value)

const suppliedSecret = (value: unknown): Secret => {
  const secret = toSecret(value) ?? expiringSecret(value)
  return secret === undefined ? Effect.fail(new TypeError(notSupplied)) : Effect.succeed(secret)
}

const notSupplied =
  "The effect given as `password` must give a string or a Redacted string, or { password, timeToLive } with one of them and a duration"

/** With the time that it holds, which is kept beside it. */
const expiringSecret = (value: unknown): Redacted.Redacted<string> | undefined => {
  if (!Predicate.isObject(value) || !("timeToLive" in value) || !("password" in value)) return undefined
  const secret = toSecret(value.password)
  const millis = durationOrInfinite(1).check(value.timeToLive)
  if (secret === undefined || millis === undefined) return undefined
  lifetimes.set(secret, millis)
  return secret
}

/** Commands; whether they may be sent is the command table's to say. */
export const commands: Kind<ReadonlyArray<Command>, never> = {
  must: 'an array of commands, each a non-empty array of strings, finite numbers, bigints and Uint8Arrays, as in [["CLIENT", "NO-EVICT", "ON"]]',
  check: (value) => (Array.isArray(value) && value.every(isCommand) ? value.map((command) => [...command]) : undefined),
  read: () => undefined
}

const isCommand = (value: unknown): value is Command =>
  Array.isArray(value) && value.length > 0 && value.every(isArgument)

const isArgument = (value: unknown): value is Argument =>
  typeof value === "bigint" ||
  value instanceof Uint8Array ||
  (typeof value === "number" && Number.isFinite(value)) ||
  (typeof value === "string" && value.isWellFormed())

/** A record as one writes it: not an array, not an instance of a class. */
export const isPlain = (value: unknown): value is Record<string, unknown> => {
  if (!Predicate.isObject(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** A wrong value in words, without showing it, unless it can be no secret. */
export const describe = (value: unknown): string => {
  switch (typeof value) {
    case "number":
    case "boolean":
      return String(value)
    case "string":
      return value === "" ? "an empty string" : "a string"
    case "object":
      return value === null ? "null" : Array.isArray(value) ? "an array" : "an object"
    default:
      return `a ${typeof value}`
  }
}

/**
 * The checks of child specs (OTP's `check_childspecs`), and their times in milliseconds.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { ChildSpec, Shutdown } from "../../ChildSpec.ts"
import { InvalidChildSpec } from "./errors.ts"

export const findInvalid = (
  specs: ReadonlyArray<ChildSpec<unknown, unknown>>,
  autoShutdown: string | undefined
): InvalidChildSpec | undefined => {
  const ids = new Set<string>()
  for (const spec of specs) {
    const invalid = invalidSpec(spec, autoShutdown)
    if (invalid !== undefined) return invalid
    if (ids.has(spec.id)) return new InvalidChildSpec({ code: "duplicateChildName", id: spec.id })
    ids.add(spec.id)
  }
  return undefined
}

export const invalidSpec = (
  spec: Omit<ChildSpec<unknown, unknown>, "start"> & { readonly start?: unknown },
  autoShutdown: string | undefined,
  isStart: (start: unknown) => boolean = Effect.isEffect
): InvalidChildSpec | undefined => {
  const { id } = spec
  const invalid = (code: InvalidChildSpec["code"], value?: unknown) => new InvalidChildSpec({ code, id, value })
  if (typeof id !== "string" || id === "") return new InvalidChildSpec({ code: "missingId" })
  if (!isStart(spec.start)) return invalid("missingStart")
  if (!["permanent", "transient", "temporary"].includes(spec.restart))
    return invalid("invalidRestartType", spec.restart)
  if (spec.significant === true && autoShutdown === "never") {
    return new InvalidChildSpec({ code: "badCombination", id, fields: ["autoShutdown", "significant"] })
  }
  if (spec.significant === true && spec.restart === "permanent") {
    return new InvalidChildSpec({ code: "badCombination", id, fields: ["restart", "significant"] })
  }
  if (typeof spec.significant !== "boolean") return invalid("invalidSignificant", spec.significant)
  if (spec.type !== "worker" && spec.type !== "supervisor") return invalid("invalidChildType", spec.type)
  if (shutdownMillis(spec.shutdown) === undefined) return invalid("invalidShutdown", spec.shutdown)
  if (spec.stableAfter !== undefined && millis(spec.stableAfter) === undefined) {
    return invalid("invalidStableAfter", spec.stableAfter)
  }
  return undefined
}

/** Milliseconds of a duration, or `undefined` when it is none. */
export const millis = (input: Duration.Input): number | undefined => {
  if (typeof input === "number" && !(input >= 0)) return undefined
  const duration = Duration.fromInput(input)
  return duration._tag === "None" ? undefined : Duration.toMillis(duration.value)
}

/** Milliseconds, `Infinity`, -1 for a kill, or `undefined` when the setting is invalid. */
export const shutdownMillis = (shutdown: Shutdown): number | undefined =>
  shutdown === "brutalKill" ? -1 : shutdown === "infinity" ? Infinity : millis(shutdown)

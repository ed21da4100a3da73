/**
 * The description of a supervisor, and the check of its settings.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { ChildSpec, ChildTemplate } from "../../ChildSpec.ts"
import type { SupervisorSpec } from "../../Supervisor.ts"
import type { SupervisorStartError } from "./errors.ts"
import { findInvalid, invalidSpec, millis } from "./specs.ts"

const TypeId = "~@relive/otp/Supervisor" as const

export type AnySpec = ChildSpec<unknown, unknown>
export type AnyTemplate = ChildTemplate<never, unknown, unknown>
export type Kind = "static" | "simple" | "dynamic"

export interface RawOptions {
  readonly kind: Kind
  readonly strategy?: string | undefined
  readonly intensity?: number | undefined
  readonly period?: Duration.Input | undefined
  readonly autoShutdown?: string | undefined
  readonly maxChildren?: number | undefined
  readonly beforeStop?: Effect.Effect<void> | undefined
  readonly children: ReadonlyArray<AnySpec | AnyTemplate>
}

export class SpecImpl<in Child, out R, out Info> implements SupervisorSpec<Child, R, Info> {
  readonly [TypeId]: {
    readonly _Child: (child: Child) => void
    readonly _R: () => R
    readonly _Info: () => Info
  }
  readonly kind: Kind
  readonly options: RawOptions
  constructor(options: RawOptions) {
    this[TypeId] = variance
    this.kind = options.kind
    this.options = options
  }
}

const onlyType = (): never => {
  throw new Error("A type, not a value")
}

const variance = { _Child: (): void => {}, _R: onlyType, _Info: onlyType }

export const makeSpec = <Child, R, Info>(options: RawOptions): SupervisorSpec<Child, R, Info> => new SpecImpl(options)

export const isSpec = (value: unknown): value is SupervisorSpec<never, unknown> => Predicate.hasProperty(value, TypeId)

type StartReason = SupervisorStartError["reason"]

/** A supervisor's settings, checked and with defaults. */
export interface Settings {
  readonly kind: Kind
  readonly strategy: string
  readonly intensity: number
  readonly periodMillis: number
  readonly autoShutdown: string
  readonly maxChildren: number
  /** Runs when the supervisor has to end, before any child is told; calls are refused from then on. */
  readonly beforeStop: Effect.Effect<void> | undefined
  readonly children: ReadonlyArray<AnySpec>
  readonly template: AnyTemplate | undefined
}

const isNatural = (value: unknown): boolean => typeof value === "number" && Number.isInteger(value) && value >= 0

/** Checks settings first, then child specs in order; the first error wins. */
export const checkSettings = (options: RawOptions): Settings | StartReason => {
  const { autoShutdown = "never", intensity = 1, kind, maxChildren = Infinity, strategy = "oneForOne" } = options
  const invalid = (code: Extract<StartReason, { _tag: "InvalidSettings" }>["code"], value: unknown): StartReason => ({
    _tag: "InvalidSettings",
    code,
    value
  })
  if (!["oneForOne", "oneForAll", "restForOne"].includes(strategy)) return invalid("invalidStrategy", strategy)
  if (!isNatural(intensity)) return invalid("invalidIntensity", intensity)
  const periodMillis = millis(options.period ?? 5000)
  if (periodMillis === undefined || periodMillis === 0) return invalid("invalidPeriod", options.period)
  if (!["never", "anySignificant", "allSignificant"].includes(autoShutdown)) {
    return invalid("invalidAutoShutdown", autoShutdown)
  }
  if (maxChildren !== Infinity && !isNatural(maxChildren)) return invalid("invalidMaxChildren", maxChildren)
  const { beforeStop } = options
  const settings = { kind, strategy, intensity, periodMillis, autoShutdown, maxChildren, beforeStop }
  if (kind === "simple") {
    const [template, ...more] = options.children
    if (template === undefined || more.length > 0 || !("instance" in template)) return { _tag: "BadStartSpec" }
    const error = invalidSpec(template.spec, autoShutdown, Predicate.isFunction)
    return error === undefined ? { ...settings, children: [], template } : { _tag: "InvalidChildSpec", error }
  }
  const children = options.children.filter((child): child is AnySpec => !("instance" in child))
  const error = findInvalid(children, autoShutdown)
  return error === undefined ? { ...settings, children, template: undefined } : { _tag: "InvalidChildSpec", error }
}

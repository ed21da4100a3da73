/**
 * Series of a supervisor that are read when metrics are collected: nothing is counted for them but plain fields.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Telemetry as Switch } from "../../Supervisor.ts"

export const Telemetry = Context.Reference<Switch>("@relive/otp/Telemetry", {
  defaultValue: () => ({ metrics: false })
})

/** The figures that are read of a supervisor. */
export interface Measured {
  readonly restartsSoFar: number
  readonly crashesSoFar: number
  readonly running: number
  readonly waitingMessages: number
}

/** Registers the series, if they are wanted; returns the removal. */
export const publish = (
  context: Context.Context<never>,
  path: string,
  supervisor: Measured
): (() => void) | undefined => {
  if (!Context.get(context, Telemetry).metrics) return undefined
  const attributes = { "otp.supervisor": path }
  const counter = (name: string, description: string, count: () => number) =>
    Metric.registerUnsafe(Metric.counter(name, { description, attributes, incremental: true }), context, {
      get: () => ({ count: count(), incremental: true }),
      update: ignore,
      modify: ignore
    })
  const gauge = (name: string, description: string, value: () => number) =>
    Metric.registerUnsafe(Metric.gauge(name, { description, attributes }), context, {
      get: () => ({ value: value() }),
      update: ignore,
      modify: ignore
    })
  const series = [
    counter("otp.supervisor.restarts", "Restarts of children", () => supervisor.restartsSoFar),
    counter("otp.supervisor.crashes", "Ends of children that were crashes or kills", () => supervisor.crashesSoFar),
    gauge("otp.supervisor.children", "Children that run", () => supervisor.running),
    gauge(
      "otp.mailbox.depth",
      "Messages that wait for the children and the supervisor",
      () => supervisor.waitingMessages
    )
  ]
  return () => {
    for (const registration of series) registration.remove()
  }
}

const ignore = (): void => {}

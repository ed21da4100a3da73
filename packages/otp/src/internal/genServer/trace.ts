/**
 * The span and the log annotations of a caller, under which its request is handled.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { CurrentLogAnnotations } from "effect/References"
import { ParentSpan } from "effect/Tracer"

/** The context of a caller that has a span or log annotations: a pointer, nothing is copied until a handler needs it. */
export type Trace = Context.Context<never>

export const traceOf = (fiber: Fiber.Fiber<unknown, unknown>): Trace | undefined =>
  fiber.cache.span !== undefined || Context.getOrUndefined(fiber.context, CurrentLogAnnotations) !== undefined
    ? fiber.context
    : undefined

/** Runs a handler under the span of the caller, with its log annotations added to the server's own. */
export const under = <A, E, R>(trace: Trace, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateContext(effect, (own: Context.Context<R>) => {
    const span = Context.getOrUndefined(trace, ParentSpan)
    const annotations = Context.getOrUndefined(trace, CurrentLogAnnotations)
    let context = own
    if (span !== undefined) context = Context.add(context, ParentSpan, span)
    if (annotations !== undefined) {
      const both = { ...Context.get(own, CurrentLogAnnotations), ...annotations }
      context = Context.add(context, CurrentLogAnnotations, both)
    }
    return context
  })

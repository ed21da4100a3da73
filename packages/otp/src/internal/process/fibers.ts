/**
 * The fork register: the one place in this package where a fiber is started.
 *
 * Effect drops the failure of a fiber that nobody observes, and keeps no list of fibers. So every fork of ours says
 * what it is for, is listed while it lives, and hands its exit to a callback that has to be given.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

/** A live fiber of this package. */
export interface LiveFiber {
  readonly id: number
  /** The fiber's job: `main`, `terminate`, `close`, `backoff`, or the label of a `Process.fork`. */
  readonly label: string
  /** The path of the process it belongs to. */
  readonly path: string
}

/** The list of live fibers. */
export interface FiberRegister {
  readonly live: Map<Fiber.Fiber<unknown, unknown>, { readonly label: string; readonly path: string }>
}

/** An empty register. */
export const makeRegister = (): FiberRegister => ({ live: new Map() })

/** The present entries of a register. */
export const list = (register: FiberRegister): ReadonlyArray<LiveFiber> =>
  Array.from(register.live, ([fiber, { label, path }]) => ({ id: fiber.id, label, path }))

/** The register in use: one for the whole program unless another is provided. */
export const CurrentRegister = Context.Reference<FiberRegister>("@relive/otp/FiberRegister", {
  defaultValue: makeRegister
})

export interface ForkOptions<A, E> {
  readonly label: string
  readonly path: string
  readonly uninterruptible?: boolean
  /** Called with the fiber before its first step. */
  readonly onStart?: (fiber: Fiber.Fiber<unknown, unknown>) => void
  /** Called once with the exit, synchronously, when the fiber has ended. */
  readonly onExit: (exit: Exit.Exit<A, E>) => void
}

/** Starts a fiber without a parent. Its first steps run before this returns. */
export const fork = <A, E, R>(
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  options: ForkOptions<A, E>
): Fiber.Fiber<A, E> => {
  const live = Context.get(context, CurrentRegister).live
  const program = Effect.withFiber<A, E, R>((fiber) => {
    live.set(fiber, options)
    options.onStart?.(fiber)
    return effect
  })
  const fiber = Effect.runForkWith(context)(program, options.uninterruptible ? uninterruptible : undefined)
  fiber.addObserver((exit) => {
    live.delete(fiber)
    options.onExit(exit)
  })
  return fiber
}

const uninterruptible: Effect.RunOptions = { uninterruptible: true }

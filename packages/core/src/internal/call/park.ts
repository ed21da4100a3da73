/**
 * Waiting for something that is settled once, at the least cost: the fiber is parked by the thing itself.
 *
 * `Effect.callback` makes five objects for each wait (the effect, its closures, a finalizer), which is more than half of
 * what a command allocates. Here the thing lies on the fiber's stack as a frame of its own. Popped before it is settled, it
 * knows that its fiber was interrupted, and is abandoned in the same step. Settled, it hands itself to the fiber, as the
 * effect that is its outcome.
 *
 * ```
 *   submit ──▶ Parked on the fiber's stack ──settle──▶ fiber.evaluate(parked) ──▶ its value or failure
 *                          └──popped by an interruption──▶ abandon
 * ```
 *
 * Effect has no public way to do so. This file is the only one that uses members of a fiber that are not in its type. When it
 * is loaded it runs small fibers that wait, succeed, fail and are interrupted. Only fibers of the class that did all of it
 * right are parked: all others (another version of Effect, a second copy of it) wait by `Effect.callback`. Both ways do
 * the same, and `test/call/park.test.ts` compares them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"

// ------------------------------------------------------------------------------------------------------ Effect's inside

/** The parts of a fiber that parking uses. */
interface RunLoop {
  /** Its continuations, the next one last. */
  readonly _stack: Array<unknown>
  /** Leaves the loop until `evaluate` is called. `onResume` is called before the fiber goes on. */
  readonly yieldWith: (onResume: () => void) => Effect.Effect<never>
  /** Goes on with the next continuation. */
  readonly succeedWith: <A>(value: A) => Effect.Effect<A>
  /** Runs the effect where the fiber was left, at once. */
  readonly evaluate: (effect: Effect.Effect<unknown, unknown>) => void
}

type AnyFiber = Fiber.Fiber<unknown, unknown>

type ParkableFiber = AnyFiber & RunLoop

const prototypeKeys = Object.getOwnPropertyNames(
  Effectable.Prototype<Effect.Effect<void>>({ label: "Relive", evaluate: () => Effect.void })
)

/** The property by which the run loop finds a step of an effect. Where there is none, nobody is parked. */
const keyOf = (step: string): string => prototypeKeys.find((key) => key.endsWith(`/${step}`)) ?? `@relive/core/${step}`

/** Runs the effect. */
const evaluateKey = keyOf("evaluate")
/** Runs when the effect is popped off the stack, however that came about. */
const poppedKey = keyOf("ensureCont")

const method = (prototype: object, key: string, value: (this: never, fiber: never) => unknown): void => {
  Object.defineProperty(prototype, key, { value, configurable: true })
}

/** The class of the fibers that can be parked, by its prototype. */
let parkable: object | undefined = undefined

const canPark = (fiber: AnyFiber): fiber is ParkableFiber => Object.getPrototypeOf(fiber) === parkable

const nothing = (): void => {}

// ------------------------------------------------------------------------------------------------------------- waiting

/** Resumes the waiter. A method type, so that things of all kinds can stand in one list. */
export type Resume<A, E> = { resume(exit: Exit.Exit<A, E>): void }["resume"]

/**
 * Gives the effect that the waiting fiber goes on with instead of an outcome. A method, as things of all kinds stand in one list.
 */
export interface Recovery<A, E> {
  recover(parked: Parked<A, E>, exit: Exit.Exit<A, E>): Effect.Effect<A, E>
  /** The same for a value that needs no exit. Without it the waiter goes on with the value. */
  recoverValue?(value: A): Effect.Effect<A, E>
}

/** In `flags`: it has its outcome, or nobody waits for it any more. */
export const SETTLED = 64

/**
 * The wait of one fiber, or one function. To the fiber that it has parked it is the effect of its outcome. To everybody
 * else it is its own cancellation, as a waiting function needs it.
 */
export abstract class Parked<A, E> extends Effectable.Class<void> {
  /** Bits. All but `SETTLED` belong to the class that extends this one. */
  flags: number
  private waiter: ParkableFiber | Resume<A, E> | undefined
  /** Its outcome, unless that is `value`. */
  private exit: Exit.Exit<A, E> | undefined = undefined
  private value!: A
  /** Asked when there is an exit; what ends with a value costs nothing by it, unless it wants to see values. */
  recovery: Recovery<A, E> | undefined = undefined

  constructor(flags: number, resume: Resume<A, E> | undefined) {
    super()
    this.flags = flags
    this.waiter = resume
  }

  static {
    method(this.prototype, evaluateKey, function (this: Parked<unknown, unknown>, fiber: ParkableFiber) {
      if (this.waiter !== fiber) return this.cancel()
      this.waiter = undefined
      if (this.exit !== undefined) return this.recovered(this.exit)
      return this.recovery?.recoverValue?.(this.value) ?? fiber.succeedWith(this.value)
    })
    method(this.prototype, poppedKey, function (this: Parked<unknown, unknown>) {
      this.cancel()
    })
  }

  /** The wait is over. Must settle it, without resuming the waiter. */
  abstract abandon(): void

  private cancel(): Exit.Exit<void> {
    if (!this.settled) this.abandon()
    return Exit.void
  }

  override asEffect(): Effect.Effect<void> {
    return Effect.sync(() => this.cancel())
  }

  get settled(): boolean {
    return (this.flags & SETTLED) !== 0
  }

  set settled(settled: boolean) {
    this.flags = settled ? this.flags | SETTLED : this.flags & ~SETTLED
  }

  /** Once it is settled. */
  get outcome(): Exit.Exit<A, E> {
    return this.exit ?? Exit.succeed(this.value)
  }

  /** Whether it has taken what it will end with. (No value is `undefined`.) */
  get hasOutcome(): boolean {
    return this.exit !== undefined || this.value !== undefined
  }

  /** Takes what it will end with. Nobody is resumed yet. */
  keep(exit: Exit.Exit<A, E>): void {
    this.exit = exit
  }

  /** Takes the value that it will end with, which needs no exit. Nobody is resumed yet. */
  keepValue(value: A): void {
    this.value = value
  }

  /** Ends it with what it has kept, and resumes the waiter: that runs the waiter's code. */
  protected finish(): void {
    this.settled = true
    const waiter = this.waiter
    if (typeof waiter === "function") waiter(this.outcome)
    else waiter?.evaluate(this)
  }

  /** The effect that the waiting fiber goes on with. */
  recovered(exit: Exit.Exit<A, E>): Effect.Effect<A, E> {
    return this.recovery === undefined ? exit : this.recovery.recover(this, exit)
  }

  /** Parks the fiber that evaluates an effect just now, as the effect's last step. */
  park(fiber: ParkableFiber): Effect.Effect<A, E> {
    if (this.settled) return this.recovered(this.outcome)
    this.waiter = fiber
    fiber._stack.push(this)
    return fiber.yieldWith(nothing)
  }

  /** The same for a function. Returns what an interruption has to run. */
  attach(resume: Resume<A, E>): Effect.Effect<void> | void {
    if (this.settled) return resume(this.outcome)
    this.waiter = resume
    return this
  }
}

/** An effect that submits something and waits for it. It is a value: each time it is run it submits again. */
export abstract class Waiting<A, E, R = never> extends Effectable.Class<A, E, R> {
  static {
    method(this.prototype, evaluateKey, function (this: Waiting<unknown, unknown, unknown>, fiber: AnyFiber) {
      if (!canPark(fiber)) return this.asEffect()
      const submitted = this.submit(fiber)
      return submitted instanceof Parked ? submitted.park(fiber) : submitted
    })
  }

  /**
   * Submits, in the step in which its fiber begins to wait, so that no interruption comes between. Returns what to wait for, or
   * another effect that is run in its place.
   */
  protected abstract submit(fiber: AnyFiber): Parked<A, E> | Effect.Effect<A, E, R>

  /** The way by public means. */
  override asEffect(): Effect.Effect<A, E, R> {
    return Effect.withFiber((fiber) =>
      Effect.callback<A, E, R>((resume) => {
        const submitted = this.submit(fiber)
        if (!(submitted instanceof Parked)) return resume(submitted)
        return submitted.attach((exit) => resume(submitted.recovered(exit)))
      })
    )
  }
}

// --------------------------------------------------------------------------------------------------------------- probe

class ProbeThing extends Parked<number, string> {
  abandoned = 0

  abandon(): void {
    this.settled = true
    this.abandoned++
  }

  settle(exit: Exit.Exit<number, string>): void {
    if (this.settled) return
    this.keep(exit)
    this.finish()
  }

  settleValue(value: number): void {
    if (this.settled) return
    this.keepValue(value)
    this.finish()
  }
}

class ProbeEffect extends Waiting<number, string> {
  readonly thing = new ProbeThing(0, undefined)

  protected override submit(): ProbeThing {
    return this.thing
  }
}

const hasRunLoop = (fiber: object): boolean =>
  "_stack" in fiber &&
  Array.isArray(fiber._stack) &&
  ["yieldWith", "succeedWith", "evaluate"].every((name) => typeof Reflect.get(fiber, name) === "function")

/** How fibers that wait fare, step by step: when they succeed, fail, are interrupted, or are masked and interrupted. */
const journal = (): string => {
  const lines: Array<unknown> = []
  const fork = (wrap: (effect: ProbeEffect) => Effect.Effect<number, string>) => {
    const effect = new ProbeEffect()
    const fiber = Effect.runFork(wrap(effect))
    const { thing } = effect
    const look = (): void => {
      const exit = fiber.pollUnsafe()
      lines.push(thing.abandoned, exit === undefined ? "waits" : Exit.hasInterrupts(exit) ? "interrupted" : exit)
    }
    look()
    return { thing, fiber, look }
  }
  const plusOne = Effect.map((n: number) => n + 1)
  const settled = (thing: ProbeThing): ProbeThing => {
    thing.settleValue(1)
    return thing
  }

  const succeeds = fork(plusOne)
  succeeds.thing.settleValue(1)
  succeeds.look()
  const fails = fork(plusOne)
  fails.thing.settle(Exit.fail("no"))
  fails.look()
  const caught = fork((effect) => Effect.catch(plusOne(effect), (no) => Effect.succeed(no.length)))
  caught.thing.settle(Exit.fail("no"))
  caught.look()
  fork((effect) =>
    plusOne(
      Effect.andThen(
        Effect.sync(() => settled(effect.thing)),
        effect
      )
    )
  )
  const interrupted = fork((effect) =>
    Effect.ensuring(
      plusOne(effect),
      Effect.sync(() => lines.push("ensured"))
    )
  )
  interrupted.fiber.interruptUnsafe()
  interrupted.look()
  interrupted.thing.settleValue(1)
  interrupted.look()
  const masked = fork((effect) => plusOne(Effect.uninterruptible(effect)))
  masked.fiber.interruptUnsafe()
  masked.look()
  masked.thing.settleValue(1)
  masked.look()
  return JSON.stringify(lines)
}

/** Ends parking: no fiber is parked from now on. */
export const forbidParking = (): void => {
  parkable = undefined
}

/** Parks fibers from now on, if those that are parked fare as those of `Effect.callback` do. Returns whether. */
export const allowParking = (): boolean => {
  forbidParking()
  try {
    const expected = journal()
    const fiber = Effect.runSync(Effect.withFiber((fiber) => Effect.succeed(fiber)))
    parkable = hasRunLoop(fiber) ? Object.getPrototypeOf(fiber) : undefined
    if (journal() !== expected) forbidParking()
  } catch {
    forbidParking()
  }
  return parkable !== undefined
}

allowParking()

/**
 * The timers of one process: messages to it that become due. One fiber serves them all, from the first one on, and ends
 * with the process; a heap keeps the earliest at its head, and a timer knows its place in it, so that arming, re-arming
 * and cancelling cost the logarithm of their number.
 *
 * A timer that has fired leaves a *tick* in the mailbox. Re-arming its key, or cancelling it, takes the tick out as long
 * as it waits there: what was armed before is never seen afterwards.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Alarm } from "../../Alarm.ts"
import type { Timer, TimerKey } from "../../Process.ts"
import { runAsHelper } from "./process.ts"
import type { ProcessImpl } from "./process.ts"
import { nowMillis } from "./time.ts"

/** A message that a timer has put into the mailbox. */
export interface Tick {
  /** Whether it has not been taken yet. */
  isWaiting(): boolean
  /** Takes it out again. */
  remove(): void
}

export class TimerImpl {
  readonly key: TimerKey | undefined
  /** Puts the message into the mailbox. */
  readonly deliver: () => Tick
  readonly periodMillis: number | undefined
  dueMillis: number
  /** Its place in the heap; -1 when it is not armed. */
  place = -1
  tick: Tick | undefined = undefined
  isCancelled = false

  constructor(key: TimerKey | undefined, deliver: () => Tick, dueMillis: number, periodMillis: number | undefined) {
    this.key = key
    this.deliver = deliver
    this.dueMillis = dueMillis
    this.periodMillis = periodMillis
  }

  get isWaiting(): boolean {
    return this.tick?.isWaiting() === true
  }
}

/** The least number of keys from which on those of timers that are over are looked for. */
const FEW_KEYS = 32

/** The timers of a process. */
export const timersOf = (process: ProcessImpl): Timers => (process.timers ??= new Timers(process))

/** The timer as its owner sees it. */
export const handleOf = (timers: Timers, timer: TimerImpl): Timer => ({
  cancel: Effect.sync(() => timers.cancel(timer))
})

/** Milliseconds of a delay or a period; what is none is a defect that says so. */
export const delayMillis = (time: Duration.Input): number => {
  const duration = Duration.fromInput(time)
  if (duration._tag === "None") throw new TypeError(`Not a duration: ${String(time)}`)
  return Duration.toMillis(duration.value)
}

export class Timers {
  private readonly process: ProcessImpl
  private readonly clock: Clock.Clock
  private readonly alarm: Alarm
  private readonly heap: Array<TimerImpl> = []
  private readonly byKey = new Map<TimerKey, TimerImpl>()
  private isRunning = false

  constructor(process: ProcessImpl) {
    this.process = process
    this.clock = Context.get(process.context, Clock.Clock)
    this.alarm = new Alarm(() => nowMillis(this.clock))
  }

  /** How many are armed. */
  get size(): number {
    return this.heap.length
  }

  /** Arms a timer; one with the same key is cancelled. With `periodMillis` it fires again after each such time. */
  arm(
    key: TimerKey | undefined,
    delayMillis: number,
    periodMillis: number | undefined,
    deliver: () => Tick
  ): TimerImpl {
    if (key !== undefined) this.cancelKey(key)
    const timer = new TimerImpl(key, deliver, nowMillis(this.clock) + Math.max(0, delayMillis), periodMillis)
    if (!this.process.isAliveUnsafe) return timer
    if (key !== undefined) this.remember(key, timer)
    this.insert(timer)
    this.alarm.ringBy(timer.dueMillis)
    if (!this.isRunning) {
      this.isRunning = true
      runAsHelper(this.process, this.process.context, this.alarm.run(this.fireDue), "timers")
    }
    return timer
  }

  /** Whether anything was taken back: the timer was armed, or its tick still waited. */
  cancel(timer: TimerImpl): boolean {
    const { isWaiting } = timer
    const isArmed = timer.place >= 0
    timer.isCancelled = true
    if (isArmed) this.remove(timer)
    if (isWaiting) timer.tick?.remove()
    timer.tick = undefined
    if (timer.key !== undefined && this.byKey.get(timer.key) === timer) this.byKey.delete(timer.key)
    return isArmed || isWaiting
  }

  cancelKey(key: TimerKey): boolean {
    const timer = this.byKey.get(key)
    return timer !== undefined && this.cancel(timer)
  }

  /** Keeps a timer by its key. Keys that are over are forgotten when they are too many: no event says that a tick was taken. */
  private remember(key: TimerKey, timer: TimerImpl): void {
    if (this.byKey.size >= FEW_KEYS && this.byKey.size >= 2 * this.heap.length) {
      for (const [other, { isWaiting, place }] of this.byKey) if (place < 0 && !isWaiting) this.byKey.delete(other)
    }
    this.byKey.set(key, timer)
  }

  private readonly fireDue = (now: number): number => {
    for (let timer = this.heap[0]; timer !== undefined && timer.dueMillis <= now; timer = this.heap[0]) {
      this.remove(timer)
      if (timer.periodMillis !== undefined) this.insertNext(timer, timer.periodMillis, now)
      // A slow process gets one tick of a timer, not as many as it has missed.
      if (!timer.isWaiting) this.fire(timer)
    }
    return this.heap[0]?.dueMillis ?? Infinity
  }

  private insertNext(timer: TimerImpl, periodMillis: number, now: number): void {
    const missed = Math.floor((now - timer.dueMillis) / periodMillis)
    timer.dueMillis += (missed + 1) * periodMillis
    this.insert(timer)
  }

  /** The process may run inside of this, and re-arm or cancel this very timer. */
  private fire(timer: TimerImpl): void {
    const tick = timer.deliver()
    if (!timer.isCancelled) timer.tick = tick
    else if (tick.isWaiting()) tick.remove()
  }

  // --- the heap ----------------------------------------------------------------------------------------------------

  private insert(timer: TimerImpl): void {
    this.heap.push(timer)
    this.rise(timer, this.heap.length - 1)
  }

  private remove(timer: TimerImpl): void {
    const { place } = timer
    const last = this.heap.pop()
    timer.place = -1
    if (last === undefined || last === timer) return
    if (last.dueMillis < timer.dueMillis) this.rise(last, place)
    else this.sink(last, place)
  }

  /** Moves a timer from `place` towards the head until the one above it is not later. */
  private rise(timer: TimerImpl, place: number): void {
    const { heap } = this
    while (place > 0) {
      const above = (place - 1) >> 1
      const other = heap[above]
      if (other === undefined || other.dueMillis <= timer.dueMillis) break
      heap[place] = other
      other.place = place
      place = above
    }
    heap[place] = timer
    timer.place = place
  }

  /** Moves a timer from `place` away from the head until those below it are not earlier. */
  private sink(timer: TimerImpl, place: number): void {
    const { heap } = this
    while (true) {
      const left = heap[2 * place + 1]
      const right = heap[2 * place + 2]
      const earlier = right !== undefined && left !== undefined && right.dueMillis < left.dueMillis ? right : left
      if (earlier === undefined || earlier.dueMillis >= timer.dueMillis) break
      const below = earlier.place
      heap[place] = earlier
      earlier.place = place
      place = below
    }
    heap[place] = timer
    timer.place = place
  }
}

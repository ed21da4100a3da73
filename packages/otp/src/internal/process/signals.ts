/**
 * Exit signals on their way along links, and processes that are woken by what was sent to them.
 *
 * An end may end linked processes, whose ends go on along their links. Signals are handed out one after the other from
 * a queue, not by recursion: a chain of any length costs no stack, and each process has finished changing its own
 * state before the next one hears of it.
 *
 * Resuming a fiber runs it inside `resume`. A process that sends to one that waits would so run it on its own stack,
 * and a ring of processes would overflow it. Therefore wakes are queued too, and none happens while signals are being
 * handed out. After many wakes in a row the rest goes through the scheduler, so that two processes that wake each
 * other for ever do not hold up everything else.
 *
 * @internal
 */
import type * as Fiber from "effect/Fiber"

const signals: Array<() => void> = []
let delivering = false
let holds = 0

const wakes: Array<() => void> = []
let waking = false

/** How many wakes happen in a row before the scheduler gets its turn. */
const MAX_WAKES = 1024

/** Delivers now, or after what is being delivered. */
export const deliver = (signal: () => void): void => {
  signals.push(signal)
  runSignals()
}

const runSignals = (): void => {
  if (delivering || holds > 0) return
  delivering = true
  try {
    for (let i = 0; i < signals.length; i++) signals[i]?.()
  } finally {
    signals.length = 0
    delivering = false
    runWakes()
  }
}

/**
 * Runs `change` with no signal delivered and nobody woken in between. What it sends is delivered afterwards, in order,
 * and what follows from that behind it: those who are told of an end hear of it before they hear of its consequences.
 */
export const hold = (change: () => void): void => {
  holds++
  try {
    change()
  } finally {
    holds--
    runSignals()
    runWakes()
  }
}

/** Resumes `fiber` by `resume`: now, or when the process that runs now waits. */
export const wake = (fiber: Fiber.Fiber<unknown, unknown>, resume: () => void): void => {
  if (wakes.length >= MAX_WAKES) return fiber.currentDispatcher.scheduleTask(resume, 0)
  wakes.push(resume)
  runWakes()
}

const runWakes = (): void => {
  if (waking || delivering || holds > 0) return
  waking = true
  try {
    for (let i = 0; i < wakes.length; i++) wakes[i]?.()
  } finally {
    wakes.length = 0
    waking = false
  }
}

/**
 * Exit signals on their way along links.
 *
 * An end may end linked processes, whose ends go on along their links. Signals are handed out one after the other from
 * a queue, not by recursion: a chain of any length costs no stack, and each process has finished changing its own
 * state before the next one hears of it.
 */
const pending: Array<() => void> = []
let delivering = false

/** Delivers now, or after what is being delivered. */
export const deliver = (signal: () => void): void => {
  pending.push(signal)
  if (delivering) return
  delivering = true
  try {
    for (let i = 0; i < pending.length; i++) pending[i]?.()
  } finally {
    pending.length = 0
    delivering = false
  }
}

/**
 * What a scenario expects and what a run produced, in the terms of the recorded traces, and how the two are compared.
 */
import { isDeepStrictEqual } from "node:util"

/** An event of a trace; `ev` says which, and the other fields depend on it. */
export interface Event {
  readonly ev: string
  readonly [field: string]: unknown
}

/** What happened between one step and the next. */
export interface StepTrace {
  readonly step: number
  readonly op: string
  /** Family of supervisors. */
  readonly events?: ReadonlyArray<Event>
  readonly async_replies?: ReadonlyArray<unknown>
  /** Family of processes: events by process. */
  readonly processes?: Readonly<Record<string, ReadonlyArray<Event>>>
}

/** The first difference between two traces, or `undefined` when the actual one matches. */
export const difference = (
  expected: ReadonlyArray<StepTrace>,
  actual: ReadonlyArray<StepTrace>
): string | undefined => {
  if (expected.length !== actual.length) return `expected ${expected.length} steps, got ${actual.length}`
  for (const [index, step] of expected.entries()) {
    const got = actual[index]
    if (got === undefined || !matches(step, got)) {
      return `step ${index} (${step.op})\n  expected ${JSON.stringify(step)}\n  actual   ${JSON.stringify(got)}`
    }
  }
  return undefined
}

const matches = (expected: StepTrace, actual: StepTrace): boolean => {
  if (expected.step !== actual.step || expected.op !== actual.op) return false
  if (expected.processes !== undefined) return isDeepStrictEqual(expected.processes, actual.processes)
  return (
    matchEvents(expected.events ?? [], actual.events ?? []) &&
    isDeepStrictEqual(expected.async_replies ?? [], actual.async_replies ?? [])
  )
}

/** Events in order; the branches of a `concurrent` block may interleave in any way. */
const matchEvents = (expected: ReadonlyArray<Event>, actual: ReadonlyArray<Event>): boolean => {
  let position = 0
  for (const event of expected) {
    if (event.ev !== "concurrent") {
      if (!isDeepStrictEqual(event, actual[position])) return false
      position++
      continue
    }
    const branches = event.branches as ReadonlyArray<ReadonlyArray<Event>>
    const total = branches.reduce((sum, branch) => sum + branch.length, 0)
    const part = actual.slice(position, position + total)
    position += total
    for (const branch of branches) {
      const [first] = branch
      const own = part.filter((other) => other.id === first?.id && other.gen === first?.gen)
      if (!isDeepStrictEqual(branch, own)) return false
    }
  }
  return position === actual.length
}

/**
 * How a pool chooses the member of a call. Runs once per call: no strategy of ours allocates.
 *
 * @internal
 */
import * as CommandTable from "@relive/core/CommandTable"
import { RedisArgumentError, RedisError } from "@relive/core/RedisError"
import type { CallOptions } from "@relive/core/RedisService"
import type * as Resp from "@relive/core/Resp"
import type { Choose, Strategy } from "../RedisPool.ts"
import { hash, secondHash } from "./hash.ts"
import type { MemberSlot } from "./memberSlot.ts"

/** Chooses among `usable`, which is never empty. `all` are all members by their index, whatever their state. */
export type Chooser = (
  usable: ReadonlyArray<MemberSlot>,
  all: ReadonlyArray<MemberSlot>,
  command: Resp.Command,
  options: CallOptions | undefined,
  group: ReadonlyArray<Resp.Command> | undefined
) => MemberSlot | RedisError

/** The member with the fewest commands queued and in flight; equal ones in turn. */
const leastInFlight = (): Chooser => {
  let turn = 0
  return (usable) => {
    const size = usable.length
    turn = turn + 1 < size ? turn + 1 : 0
    let best = slotAt(usable, turn)
    let least = best.load
    let index = turn
    // Zero cannot be beaten.
    for (let i = 1; i < size && least > 0; i++) {
      index = index + 1 < size ? index + 1 : 0
      const slot = slotAt(usable, index)
      const load = slot.load
      if (load < least) {
        least = load
        best = slot
      }
    }
    return best
  }
}

const roundRobin = (): Chooser => {
  let turn = -1
  return (usable) => {
    turn = turn + 1 < usable.length ? turn + 1 : 0
    return slotAt(usable, turn)
  }
}

const random =
  (next: () => number): Chooser =>
  (usable) =>
    slotAt(usable, Math.floor(next() * usable.length))

/** The first key that the call names. */
const keyOf = (command: Resp.Command, group: ReadonlyArray<Resp.Command> | undefined): Resp.Argument | undefined => {
  if (group === undefined) return CommandTable.firstKey(command)
  for (const member of group) {
    const key = CommandTable.firstKey(member)
    if (key !== undefined) return key
  }
  return undefined
}

/**
 * The same member for the same key, while that is ready. The keys of one that is not are spread over all others, and only
 * those keys move. Calls without a key go where least is under way.
 */
const byHash = (): Chooser => {
  const withoutKey = leastInFlight()
  return (usable, all, command, options, group) => {
    const key = options?.route ?? keyOf(command, group)
    if (key === undefined) return withoutKey(usable, all, command, options, group)
    const code = hash(key)
    const own = slotAt(all, code % all.length)
    return usable.includes(own) ? own : slotAt(usable, secondHash(code) % usable.length)
  }
}

const wrong = (what: string): RedisError =>
  new RedisError({
    reason: new RedisArgumentError({
      detail: `The pool's strategy must return one of the members it is given, but it ${what}`
    })
  })

/** A function of the user's: what it does wrong is the error of the call, and nobody else's. */
const custom =
  (choose: Choose): Chooser =>
  (usable, _all, command, options) => {
    try {
      const member = choose(usable, command, options)
      const slot = usable.find((slot) => slot === member)
      return slot ?? wrong("returned something else")
    } catch (error) {
      // Its message may hold what it was given.
      return wrong(`threw ${error instanceof Error ? error.name : typeof error}`)
    }
  }

const slotAt = (slots: ReadonlyArray<MemberSlot>, index: number): MemberSlot => {
  const slot = slots[index]
  if (slot === undefined) throw new RangeError(`There is no member ${index} of ${slots.length}`)
  return slot
}

/** `nextRandom` returns a number from [0, 1). */
export const makeChooser = (strategy: Strategy, nextRandom: () => number): Chooser => {
  if (typeof strategy === "function") return custom(strategy)
  switch (strategy) {
    case "leastInFlight":
      return leastInFlight()
    case "roundRobin":
      return roundRobin()
    case "random":
      return random(nextRandom)
    case "hash":
      return byHash()
  }
}

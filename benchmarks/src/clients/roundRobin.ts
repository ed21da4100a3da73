/** Several clients behind one set of calls, each call to the next one: for clients without a pool that shares. */
import type { Calls } from "../calls.ts"

/** Spreads calls over `all` in turn. */
export const roundRobin = <P>(all: ReadonlyArray<Calls<P>>): Calls<P> => {
  let turn = 0
  const next = (): Calls<P> => {
    const calls = all[turn]
    if (calls === undefined) throw new RangeError("no client to spread calls over")
    turn = (turn + 1) % all.length
    return calls
  }
  return {
    get: (key) => next().get(key),
    getBytes: (key) => next().getBytes(key),
    set: (key, value) => next().set(key, value),
    publish: (channel, message) => next().publish(channel, message),
    list: (key) => next().list(key),
    hash: (key) => next().hash(key),
    pipeline: (keys) => next().pipeline(keys),
    transaction: (keys, value) => next().transaction(keys, value)
  }
}

/**
 * What every client under test must be able to do, written once for both worlds: `P` is a `Promise` for the other
 * clients and an `Effect` for ours. A client that returns its replies in a shape of its own (pairs of error and value,
 * rows of field and value) says so in {@link Shapes}; the conversion serves the comparison of results and is never
 * part of a measured call.
 */

/** The commands the workloads are made of. */
export interface Calls<P> {
  /** `GET key`, the value as text. */
  readonly get: (key: string) => P
  /** `GET key`, the value as bytes. */
  readonly getBytes: (key: string) => P
  /** `SET key value`. */
  readonly set: (key: string, value: string) => P
  /** `PUBLISH channel message`, to nobody. */
  readonly publish: (channel: string, message: string) => P
  /** `LRANGE key 0 -1`. */
  readonly list: (key: string) => P
  /** `HGETALL key`, in the richest shape that the client has for it (a map or an object). */
  readonly hash: (key: string) => P
  /** One pipeline: `GET` of each key. */
  readonly pipeline: (keys: ReadonlyArray<string>) => P
  /** One `MULTI … EXEC`: each key is set to `value`, then each key is read. */
  readonly transaction: (keys: ReadonlyArray<string>, value: string) => P
  /** Effect's persistence modules, where they run on the client. */
  readonly family?: Family<P> | undefined
}

/** One call of each of Effect's persistence modules. */
export interface Family<P> {
  /** `RateLimiter.consume` of one token, of a limit that is never reached. */
  readonly limit: (key: string) => P
  /** `PersistedQueue`: one element is offered, and one is taken. */
  readonly queue: (element: string) => P
  /** `Persistence`: one entry is read, and decoded by its schema. */
  readonly cache: (id: number) => P
}

/** The calls of the family, of a client that has them. */
export const familyOf = <P>({ family }: Calls<P>): Family<P> => {
  if (family === undefined) throw new Unsupported("Effect's persistence modules do not run on this client")
  return family
}

/** How to read the replies of one client that have no shape in common. */
export interface Shapes {
  /** The values of a pipeline or transaction, in order. */
  readonly batch: (reply: unknown) => ReadonlyArray<unknown>
  /** The fields and values of a hash. */
  readonly hash: (reply: unknown) => Iterable<readonly [unknown, unknown]>
}

/** The replies are already an array of values. */
export const plainBatch = (reply: unknown): ReadonlyArray<unknown> => {
  if (!Array.isArray(reply)) throw new TypeError(`expected an array, got ${typeof reply}`)
  return reply
}

/** Entries of a `Map` or of a plain object. */
export const entriesOf = (reply: unknown): Iterable<readonly [unknown, unknown]> => {
  if (reply instanceof Map) return reply
  if (typeof reply === "object" && reply !== null) return Object.entries(reply)
  throw new TypeError(`expected a map or an object, got ${typeof reply}`)
}

/** Thrown by a client that has no such call: it is left out of the workload, and that is not a failure. */
export class Unsupported extends Error {}

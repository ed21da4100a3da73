/**
 * Faults between a client and a server, as data: a `FaultProxy` makes them happen.
 *
 * *Loss faults* are what networks and servers do: bytes come late, not at all, or the connection ends. *Corruption
 * faults* are what a broken middle-man or a bug does: a byte of a reply is changed where every decoder must notice. (A
 * changed payload byte is undetectable in RESP: TLS helps there, not a client.) An *interjection* is what a peer
 * does that is no Redis, or a proxy that thinks for itself: replies that are well formed and not those of their commands.
 *
 * `cut`, `halfClose`, `corrupt` and `interject` strike once, or `times` times, at most once per connection; the others last
 * until they are healed. Byte counts run per connection, from the injection or from the start of a newer connection.
 *
 * @since 0.1.0
 */

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * The direction of bytes: commands flow `toServer`, replies `toClient`.
 *
 * @since 0.1.0
 * @category models
 */
export type Direction = "toServer" | "toClient"

/**
 * One or both ways.
 *
 * @since 0.1.0
 * @category models
 */
export type Directions = Direction | "both"

/**
 * The way in which a connection is cut: in good order (FIN), or abruptly (RST; a plain close on a Unix socket).
 *
 * @since 0.1.0
 * @category models
 */
export type CutKind = "fin" | "rst"

/**
 * Where a reply is corrupted: at a type byte, a digit of a length, a CR, or an LF, of any element of a reply.
 *
 * @since 0.1.0
 * @category models
 */
export type CorruptPlace = "type" | "length" | "cr" | "lf"

/**
 * The way in which a reply is corrupted: a byte replaced, inserted, or doubled. `duplicate` at a `length` would be valid
 * grammar, so it is done to the type byte instead.
 *
 * @since 0.1.0
 * @category models
 */
export type CorruptKind = "flip" | "insert" | "duplicate"

/**
 * Ends connections after `afterBytes` more bytes in `direction`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cut {
  readonly _tag: "Cut"
  readonly direction: Direction
  readonly afterBytes: number
  readonly how: CutKind
  readonly times: number
}

/**
 * Ends one direction with FIN after `afterBytes` more bytes and drops what follows; the other direction goes on.
 *
 * @since 0.1.0
 * @category models
 */
export interface HalfClose {
  readonly _tag: "HalfClose"
  readonly direction: Direction
  readonly afterBytes: number
  readonly times: number
}

/**
 * Every chunk comes later by `millis` and up to `jitterMillis` more; the order stays.
 *
 * @since 0.1.0
 * @category models
 */
export interface Delay {
  readonly _tag: "Delay"
  readonly direction: Directions
  readonly millis: number
  readonly jitterMillis: number
}

/**
 * No more than `bytesPerSecond` pass.
 *
 * @since 0.1.0
 * @category models
 */
export interface Throttle {
  readonly _tag: "Throttle"
  readonly direction: Directions
  readonly bytesPerSecond: number
}

/**
 * Bytes pass one by one, `gapMillis` apart.
 *
 * @since 0.1.0
 * @category models
 */
export interface SlowLoris {
  readonly _tag: "SlowLoris"
  readonly direction: Directions
  readonly gapMillis: number
}

/**
 * Connections are accepted and stay open, but their bytes are swallowed, and so is the end that the server puts to
 * them. A connection that lost bytes never gets well again; healing is for the connections after it.
 *
 * @since 0.1.0
 * @category models
 */
export interface BlackHole {
  readonly _tag: "BlackHole"
  readonly direction: Directions
}

/**
 * Nothing is read: buffers fill and the sender stalls. Healing lets all of it pass.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stall {
  readonly _tag: "Stall"
  readonly direction: Directions
}

/**
 * New connections fail: with `closed` nobody listens (ECONNREFUSED), with `reset` they are accepted and reset.
 *
 * @since 0.1.0
 * @category models
 */
export interface Refuse {
  readonly _tag: "Refuse"
  readonly how: "closed" | "reset"
}

/**
 * Breaks the grammar of a reply at the first fitting byte after `afterBytes` more bytes to the client. It needs plain
 * RESP: on TLS it never strikes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Corrupt {
  readonly _tag: "Corrupt"
  readonly at: CorruptPlace
  readonly how: CorruptKind
  readonly afterBytes: number
  readonly times: number
}

/**
 * Says a line that nobody asked for, on connections that are made while it is in force: as soon as `afterReplies` replies
 * have passed, 0 for a peer that speaks before it is asked. With `replaces` the next reply is left out, so that only that
 * one is wrong; else all that follow are shifted by one. It needs plain RESP, where pushes count as replies.
 *
 * With `gapMillis` each of the eight replies behind the line comes on its own, so much after the one before: then a client
 * cannot see the one that is left over in the same read as those that it waits for.
 *
 * Later than the handshake no client can notice a shift: that is why older connections do not feel it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Interject {
  readonly _tag: "Interject"
  /** A whole reply without its last line end: `+OK`, say. */
  readonly line: string
  readonly afterReplies: number
  readonly replaces: boolean
  readonly gapMillis: number
  readonly times: number
}

/**
 * All faults.
 *
 * @since 0.1.0
 * @category models
 */
export type Fault = Cut | HalfClose | Delay | Throttle | SlowLoris | BlackHole | Stall | Refuse | Corrupt | Interject

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/**
 * A `Cut`: at once, of replies, with FIN, of one connection, unless told otherwise. `times: Infinity` cuts all there
 * are and all that come until it is healed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const cut = (options: Partial<Omit<Cut, "_tag">> = {}): Cut => ({
  _tag: "Cut",
  direction: "toClient",
  afterBytes: 0,
  how: "fin",
  times: 1,
  ...options
})

/**
 * A `HalfClose`: at once, of replies, of one connection, unless told otherwise.
 *
 * @since 0.1.0
 * @category constructors
 */
export const halfClose = (options: Partial<Omit<HalfClose, "_tag">> = {}): HalfClose => ({
  _tag: "HalfClose",
  direction: "toClient",
  afterBytes: 0,
  times: 1,
  ...options
})

/**
 * A `Delay` of replies by `millis`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const delay = (millis: number, options: Partial<Omit<Delay, "_tag" | "millis">> = {}): Delay => ({
  _tag: "Delay",
  direction: "toClient",
  jitterMillis: 0,
  ...options,
  millis
})

/**
 * A `Throttle` of replies.
 *
 * @since 0.1.0
 * @category constructors
 */
export const throttle = (bytesPerSecond: number, direction: Directions = "toClient"): Throttle => ({
  _tag: "Throttle",
  direction,
  bytesPerSecond
})

/**
 * A `SlowLoris` of replies, with a byte every 10 ms unless told otherwise.
 *
 * @since 0.1.0
 * @category constructors
 */
export const slowLoris = (gapMillis = 10, direction: Directions = "toClient"): SlowLoris => ({
  _tag: "SlowLoris",
  direction,
  gapMillis
})

/**
 * A `BlackHole` in both directions unless told otherwise.
 *
 * @since 0.1.0
 * @category constructors
 */
export const blackHole = (direction: Directions = "both"): BlackHole => ({ _tag: "BlackHole", direction })

/**
 * A `Stall` in both directions unless told otherwise.
 *
 * @since 0.1.0
 * @category constructors
 */
export const stall = (direction: Directions = "both"): Stall => ({ _tag: "Stall", direction })

/**
 * A `Refuse`: nobody listens, unless told otherwise. Established connections go on; `cut` them too where that is meant.
 *
 * @since 0.1.0
 * @category constructors
 */
export const refuse = (how: Refuse["how"] = "closed"): Refuse => ({ _tag: "Refuse", how })

/**
 * A `Corrupt`: the next type byte is replaced, once, unless told otherwise.
 *
 * @since 0.1.0
 * @category constructors
 */
export const corrupt = (options: Partial<Omit<Corrupt, "_tag">> = {}): Corrupt => ({
  _tag: "Corrupt",
  at: "type",
  how: "flip",
  afterBytes: 0,
  times: 1,
  ...options
})

/**
 * An `Interject`: before the client has said anything, once, unless told otherwise.
 *
 * @since 0.1.0
 * @category constructors
 */
export const interject = (line: string, options: Partial<Omit<Interject, "_tag" | "line">> = {}): Interject => ({
  _tag: "Interject",
  afterReplies: 0,
  replaces: false,
  gapMillis: 0,
  times: 1,
  ...options,
  line
})

/**
 * Whether the fault breaks the grammar; if not it is a loss fault or an interjection.
 *
 * @since 0.1.0
 * @category guards
 */
export const isCorruption = (fault: Fault): fault is Corrupt => fault._tag === "Corrupt"

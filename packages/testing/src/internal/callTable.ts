/**
 * The ledger's memory of calls: two bytes for each, and their times for the last million. Ten minutes at 10 000 calls a
 * second are 6 million calls; they fit in 30 MB.
 *
 * @internal
 */

/** The state of a call, in three bits. */
export const state = {
  absent: 0,
  pending: 1,
  acknowledged: 2,
  refused: 3,
  unsent: 4,
  unknown: 5,
  interrupted: 6
} as const

export type State = (typeof state)[keyof typeof state]

const stateMask = 0b0000_0111
const writeFlag = 0b0000_1000
const repeatFlag = 0b0001_0000
const EXECUTED_SHIFT = 5
const MAX_EXECUTED = 3

const CHUNK_BITS = 16
const chunkSize = 1 << CHUNK_BITS
const CHUNKS_WITH_TIMES = 16

interface Chunk {
  readonly flags: Uint8Array
  readonly kinds: Uint8Array
  times: { readonly submitted: Float64Array; readonly settled: Float64Array } | undefined
}

/** The record of one call; the times are `undefined` for an old one. */
export interface Row {
  readonly state: State
  readonly isWrite: boolean
  readonly mayRepeat: boolean
  /** The number of times that the server executed it; 3 stands for more too. */
  readonly executed: number
  readonly kind: number
  readonly submittedAt: number | undefined
  readonly settledAt: number | undefined
}

const states = Object.values(state)

export class CallTable {
  private readonly chunks: Array<Chunk> = []
  private nextId = 0

  /** The number of calls; their ids are the numbers below it. */
  get size(): number {
    return this.nextId
  }

  add(kind: number, isWrite: boolean, mayRepeat: boolean, now: number): number {
    const id = this.nextId++
    const chunk = this.chunkOf(id) ?? this.addChunk()
    const offset = id & (chunkSize - 1)
    chunk.flags[offset] = state.pending | (isWrite ? writeFlag : 0) | (mayRepeat ? repeatFlag : 0)
    chunk.kinds[offset] = kind
    if (chunk.times !== undefined) chunk.times.submitted[offset] = now
    return id
  }

  /** Settles a call; `false` if there is none or it was settled before. */
  settle(id: number, to: State, now: number): boolean {
    const chunk = this.chunkOf(id)
    const offset = id & (chunkSize - 1)
    const flags = chunk?.flags[offset] ?? 0
    if (chunk === undefined || (flags & stateMask) !== state.pending) return false
    chunk.flags[offset] = (flags & ~stateMask) | to
    if (chunk.times !== undefined) chunk.times.settled[offset] = now
    return true
  }

  /** Counts an execution; `false` if there is no such call. */
  execute(id: number, times: number): boolean {
    const chunk = this.chunkOf(id)
    const offset = id & (chunkSize - 1)
    const flags = chunk?.flags[offset] ?? 0
    if (chunk === undefined || flags === 0) return false
    const executed = Math.min(MAX_EXECUTED, (flags >> EXECUTED_SHIFT) + times)
    chunk.flags[offset] = (flags & ((1 << EXECUTED_SHIFT) - 1)) | (executed << EXECUTED_SHIFT)
    return true
  }

  forgetExecutions(): void {
    for (const { flags } of this.chunks) {
      for (let offset = 0; offset < flags.length; offset++)
        flags[offset] = (flags[offset] ?? 0) & ((1 << EXECUTED_SHIFT) - 1)
    }
  }

  row(id: number): Row {
    const chunk = this.chunkOf(id)
    const offset = id & (chunkSize - 1)
    const flags = chunk?.flags[offset] ?? 0
    const settled = chunk?.times?.settled[offset]
    return {
      state: states[flags & stateMask] ?? state.absent,
      isWrite: (flags & writeFlag) !== 0,
      mayRepeat: (flags & repeatFlag) !== 0,
      executed: flags >> EXECUTED_SHIFT,
      kind: chunk?.kinds[offset] ?? 0,
      submittedAt: chunk?.times?.submitted[offset],
      settledAt: settled === undefined || Number.isNaN(settled) ? undefined : settled
    }
  }

  private chunkOf(id: number): Chunk | undefined {
    return Number.isInteger(id) && id >= 0 && id < this.nextId ? this.chunks[Math.floor(id / chunkSize)] : undefined
  }

  private addChunk(): Chunk {
    const chunk: Chunk = {
      flags: new Uint8Array(chunkSize),
      kinds: new Uint8Array(chunkSize),
      times: { submitted: new Float64Array(chunkSize), settled: new Float64Array(chunkSize).fill(Number.NaN) }
    }
    this.chunks.push(chunk)
    const old = this.chunks[this.chunks.length - 1 - CHUNKS_WITH_TIMES]
    if (old !== undefined) old.times = undefined
    return chunk
  }
}

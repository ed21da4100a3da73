/**
 * What the main process asks of a client's process, over Node's IPC channel. Both ends are files of this folder, so
 * the messages are typed here once and not validated again.
 */
import type { AnyName, Target } from "./clients/client.ts"
import type { ClosedResult, OpenOptions, OpenResult } from "./loops.ts"

/** Where the time went, or the bytes: one line per function, the largest first. */
export interface ProfileSummary {
  readonly commands: number
  readonly total: number
  readonly functions: ReadonlyArray<{ readonly name: string; readonly place: string; readonly self: number }>
}

/** By how many bytes a process grew: its resident size, and the JavaScript heap that is in use. */
export interface Grown {
  readonly resident: number
  readonly heap: number
}

/** The time of a burst of messages, from the first to the last that was told, and how many were not the next ones. */
export interface Received {
  readonly milliseconds: number
  readonly cpuMicros: number
  readonly wrong: number
}

/** The calls that a client's process serves. */
export interface Methods {
  /** Loads the client and opens one connection; fails when the client is not available here. */
  readonly open: (of: { readonly name: AnyName; readonly target: Target }) => Promise<void>
  /** Digest of the replies to all distinct calls of a workload, made at once. */
  readonly check: (of: { readonly workload: string }) => Promise<string>
  readonly closed: (of: { readonly workload: string; readonly milliseconds: number }) => Promise<ClosedResult>
  readonly openLoop: (of: { readonly workload: string; readonly options: OpenOptions }) => Promise<OpenResult>
  /** Bytes allocated on the JavaScript heap per command, by the engine's sampling profiler. */
  readonly allocation: (of: { readonly workload: string; readonly milliseconds: number }) => Promise<number>
  /** Runs a workload under the CPU profiler, or the allocation profiler, after warming up. */
  readonly profile: (of: {
    readonly workload: string
    readonly milliseconds: number
    readonly what: "cpu" | "allocation"
    /** Where to write the profile, for the tools that read such files. */
    readonly file: string
  }) => Promise<ProfileSummary>
  /** Subscribes so many subscribers to a channel, on one connection. */
  readonly subscribe: (of: { readonly channel: string; readonly count: number }) => Promise<void>
  /** Begins to count what each of them is told: so many messages more, numbered from 0 on. */
  readonly expect: (of: { readonly messages: number }) => Promise<void>
  /** Resolves when all of that has come, with what it took. */
  readonly received: (of: Record<never, never>) => Promise<Received>
  /** Opens further connections, one client each, and returns by how many bytes the process, and its live heap, grew. */
  readonly openMany: (of: { readonly target: Target; readonly count: number }) => Promise<Grown>
  /** Resolves when each of those connections has had the reply to a read, which is tried again until it succeeds. */
  readonly answerAll: (of: { readonly workload: string }) => Promise<void>
  readonly close: (of: Record<never, never>) => Promise<void>
}

/** One question. */
export interface Request {
  readonly id: number
  readonly method: keyof Methods
  readonly params: unknown
}

/** Its reply. */
export interface Response {
  readonly id: number
  readonly result?: unknown
  readonly error?: string | undefined
  /** The client has no such call. */
  readonly unsupported?: boolean | undefined
}

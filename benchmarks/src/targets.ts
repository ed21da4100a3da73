/** The targets, by row. A ratio is one to the best peer, node-redis without its timeout included. */
import type { Surroundings } from "./surroundings.ts"

/** The targets of one row. */
export interface Target {
  readonly toBestPeer?: number | undefined
  /** Of the bare client with each call as an `Effect.callback`. */
  readonly toFloor?: number | undefined
  /** The most bytes of the JavaScript heap for a command, or the most of the row's unit. */
  readonly atMost?: { readonly bytes?: number | undefined; readonly value?: number | undefined } | undefined
}

type Targets = Readonly<Record<string, Target | undefined>>

const asItIs: Targets = {
  "get-500": { toBestPeer: 1.3, toFloor: 0.8, atMost: { bytes: 900 } },
  "set-500": { toBestPeer: 1.3, atMost: { bytes: 950 } },
  "mixed-1k": { toBestPeer: 1.2, atMost: { bytes: 2000 } },
  sequential: { toBestPeer: 1 },
  "pipeline-100": { toBestPeer: 2.3 },
  "large-value": { toBestPeer: 1 },
  "large-value-bytes": { toBestPeer: 1 },
  "large-array": { toBestPeer: 2.5 },
  hash: { toBestPeer: 1.8 },
  "transaction-10": { toBestPeer: 1.8 },
  "effect-limiter": { toBestPeer: 1.3 },
  "effect-queue": { toBestPeer: 1.2 },
  "effect-cache": { toBestPeer: 1.2 },
  "pubsub-1": { toBestPeer: 1.1 },
  "latency-20k-p99": { toBestPeer: 1 },
  "latency-100k-p99": { toBestPeer: 1 },
  "idle-heap": { atMost: { value: 40 } }
}

const oneCore: Targets = { "get-500": { toBestPeer: 1 } }

const dear: Targets = { "get-500": { toBestPeer: 0.85 } }

const all: Readonly<Record<Surroundings, Targets>> = {
  "as-it-is": asItIs,
  "one-core": oneCore,
  "dear-system-calls": dear
}

/** The target of a row there. */
export const targetOf = (where: Surroundings, row: string): Target | undefined => all[where][row]

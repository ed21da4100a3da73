/**
 * Ways to break the client of a cluster, each with the schedule of the soak that must see it.
 */
import type { Mutant } from "../BrokenLaws.ts"
import type { ScheduleName } from "./schedules.ts"

const state = "packages/cluster/src/internal/state.ts"
const gather = "packages/cluster/src/internal/gather.ts"
const refresher = "packages/cluster/src/internal/refresher.ts"
const table = "packages/cluster/src/internal/table.ts"
const kit = "packages/core/src/internal/service/routedCalls.ts"

export interface ClusterMutant extends Mutant {
  readonly schedule: ScheduleName
  readonly more?: ReadonlyArray<string>
  /** The laws of which the soak must find one broken. */
  readonly seenAs: ReadonlyArray<string>
}

export const mutants: ReadonlyArray<ClusterMutant> = [
  {
    name: "ask-without-asking",
    breaks: "what is sent on by ASK is sent without ASKING",
    schedule: "migrate",
    seenAs: ["errors", "slowest call", "MOVED"],
    file: state,
    from: "return { to, asking: to !== undefined, wait:",
    to: "return { to, asking: false, wait:"
  },
  {
    name: "patch-on-ask",
    breaks: "the table is patched by ASK, as by MOVED",
    schedule: "migrate",
    seenAs: ["errors", "slowest call", "MOVED", "CLUSTER SLOTS"],
    file: state,
    from: "this.openSlots.set(refusal.slot, now + OPEN_MILLIS)\n        const to = this.nodeFor(refusal.to)\n",
    to: "const to = this.nodeFor(refusal.to)\n        if (to !== undefined) this.patch(refusal.slot, to, now)\n"
  },
  {
    name: "undo-patches",
    breaks: "a MOVED does not change the table until the next refresh",
    schedule: "migrate",
    seenAs: ["errors", "slowest call", "MOVED", "CLUSTER SLOTS"],
    file: table,
    from: "this.patches.set(slot, { owner, at: now })\n    this.put(slot, owner)",
    to: "this.patches.set(slot, { owner, at: now })"
  },
  {
    name: "parts-in-wrong-order",
    breaks: "the replies of a part go to the places of other commands",
    schedule: "storm",
    seenAs: ["wrong"],
    file: gather,
    from: "const reply = replies[place]\n",
    to: "const reply = replies[batch.places.length - 1 - place]\n"
  },
  {
    name: "refresh-on-every-moved",
    breaks: "each MOVED asks for the map",
    schedule: "migrate",
    seenAs: ["CLUSTER SLOTS"],
    file: refresher,
    from: "return Math.max(now + COLLECT_MILLIS, this.lastAskedAt + this.options.spacingMillis)",
    to: "return now"
  },
  {
    name: "never-refresh",
    breaks: "a failure does not ask for the map",
    schedule: "kill",
    seenAs: ["recovery", "errors", "errors of writes", "hanging"],
    file: refresher,
    from: "const dueAt = this.dueAt(reason, now)\n",
    to: 'const dueAt = reason === "start" || reason === "asked" ? now : Infinity\n'
  },
  {
    name: "restart-all",
    breaks: "when a node's session ends, those of all nodes are ended",
    schedule: "flap",
    seenAs: ["gap"],
    file: state,
    from: 'this.trigger("session-ended")\n',
    to: '{\n      for (const other of this.owners) if (other !== node) other.connection?.endSession("mutant")\n      this.trigger("session-ended")\n    }\n'
  },
  {
    name: "repeat-writes",
    breaks: "a write whose reply was lost is written again",
    schedule: "cut",
    seenAs: ["doubles"],
    file: kit,
    from: "const isRepeatable = (flags & Flags.repeatable) !== 0 && options?.retry !== false",
    to: "const isRepeatable = flags >= 0 && options?.retry !== false"
  },
  {
    name: "refused-as-unknown",
    breaks: "a write that servers have refused until its deadline is told as one that may have run",
    schedule: "kill",
    seenAs: ["refusedUnknown"],
    file: state,
    from: "if (call.mayHaveRun) {",
    to: "if (call.mayHaveRun || call.hops > 0) {"
  },
  {
    name: "trust-replicas",
    breaks: "what a replica does not have in a resharding is told as it is",
    schedule: "migrate",
    seenAs: ["wrong"],
    more: ["--variant", "replicas"],
    file: "packages/cluster/src/internal/service.ts",
    from: 'call.doubtsMisses = state.options.misses === "ask"',
    to: "call.doubtsMisses = false"
  }
]

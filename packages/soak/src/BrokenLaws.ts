/**
 * The laws, broken one at a time: each the smallest change to a source that a person could make by mistake, and that the
 * soak must see. A change is an exact text and its replacement; a source that no longer has the text once is an error, since
 * a mutant that changes nothing proves nothing.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

export interface Mutant {
  readonly name: string
  /** The fault, in words. */
  readonly breaks: string
  readonly file: string
  readonly from: string
  readonly to: string
}

const connection = "packages/core/src/internal/connection/connection.ts"
const handshake = "packages/core/src/internal/connection/handshake.ts"
const inbox = "packages/core/src/internal/pubsub/inbox.ts"
const subscriber = "packages/core/src/internal/pubsub/subscriber.ts"
const subscription = "packages/core/src/internal/pubsub/subscription.ts"
const subscriptions = "packages/core/src/internal/pubsub/subscriptions.ts"
const service = "packages/core/src/internal/service/service.ts"
const session = "packages/core/src/internal/connection/session.ts"
const transport = "packages/core/src/internal/transport/dial.ts"
const turns = "packages/core/src/internal/turns.ts"
const wire = "packages/core/src/internal/transport/wire.ts"

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "resend-writes",
    breaks: "whatever was written and not answered is written once more, not reads alone",
    file: service,
    from: "((common & Flags.repeatable) !== 0 && options?.retry !== false ? REPEATABLE : 0) |",
    to: "(options?.retry !== false ? REPEATABLE : 0) |"
  },
  {
    name: "skip-tombstone",
    breaks: "a call that was given up leaves no tombstone, so its reply goes to the next one",
    file: connection,
    from: "const wasQueued = this.mailbox.remove(call)",
    to: "const wasQueued = this.mailbox.remove(call)\n    call.list?.remove(call)"
  },
  {
    name: "keep-socket",
    breaks: "a byte outside the protocol does not end the session",
    file: wire,
    from: "this.failure = failure ?? end\n",
    to: "this.failure = end\n"
  },
  {
    name: "leave-open",
    breaks: "only a secured socket is destroyed: a plain one stays open after its session",
    file: transport,
    from: "safe?.destroy()\n      raw?.destroy()\n",
    to: "safe?.destroy()\n"
  },
  {
    name: "forget-to-settle",
    breaks: "what is queued when a connection closes without a session is not settled",
    file: connection,
    from: 'else this.change("draining", undefined)\n    this.settling.add(failed)',
    to: 'else this.change("draining", undefined)'
  },
  {
    name: "unsent-for-written",
    breaks: "what was written when the session died is said not to have been sent",
    file: connection,
    from: "call.received === 0 ? shared.unknown :",
    to: "call.received === 0 ? shared.unsent :"
  },
  {
    name: "late-is-unsent",
    breaks: "a written call whose deadline has passed is said not to have been sent",
    file: connection,
    from: 'const delivery = phase === "queued" && !call.repeated ? "unsent" : "unknown"',
    to: 'const delivery = "unsent"'
  },
  {
    name: "timers-first",
    breaks: "what ends because its time is over ends before the sockets were read",
    file: turns,
    from: "isLive(clock) ? readAll(",
    to: "!isLive(clock) ? readAll("
  },
  {
    name: "glued-lease",
    breaks: "a lease stays with a server that became a replica, and is handed out again",
    file: connection,
    from: "const isNews = !session.retired\n",
    to: 'if (this.kind === "leased") return undefined\n    const isNews = !session.retired\n'
  },
  {
    name: "any-shape",
    breaks: "the handshake looks at errors only, and believes a reply of any shape",
    file: handshake,
    from: "if (hasShape(batch, index, reply)) return",
    to: "if (hasShape(batch, index, reply) || batch.steps[index] !== undefined) return"
  },
  {
    name: "any-marker",
    breaks: "any text is taken for the marker that ends the handshake",
    file: handshake,
    from: 'return reply === (batch.marker ?? "PONG") || (reply === "PONG" && !batch.isStrict)',
    to: 'return typeof reply === "string"'
  },
  {
    name: "any-database",
    breaks: "a session whose SELECT was refused is ready, in database 0",
    file: handshake,
    from: '    case "setinfo":\n      return undefined',
    to: '    case "select":\n    case "setinfo":\n      return undefined'
  },
  {
    name: "silent-gap",
    breaks: "a subscriber is not told that its connection was lost",
    file: subscription,
    from: "this.inbox.tail().lose(since, cause)",
    to: "void since"
  },
  {
    name: "late-since",
    breaks: "a gap begins when the loss is found, not where an answer has proven that nothing was missed",
    file: subscriber,
    from: "for (const subscription of this.subscriptions) subscription.lost(feed.provenAt, cause)",
    to: "for (const subscription of this.subscriptions) subscription.lost(feed.connection.clock.currentTimeMillisUnsafe(), cause)"
  },
  {
    name: "early-resubscribed",
    breaks: "a subscription counts as whole when the first of its names is confirmed",
    file: subscriptions,
    from: "if (member.missing === 0) member.confirmed()",
    to: "member.confirmed()"
  },
  {
    name: "told-again",
    breaks: "a message that finds others taken before is queued twice",
    file: inbox,
    from: "this.items.push(batch)\n",
    to: "this.items.push(batch)\n    if (this.head > 0) this.items.push(batch)\n"
  },
  {
    name: "lost-cursor",
    breaks: "a call that wants bytes gets text when the reply before it came in an earlier read",
    file: session,
    from: "if (this.cursor === call) this.cursor = undefined",
    to: "if (this.cursor === call && (call.flags & BYTES) !== 0) this.cursor = undefined"
  }
]

/** The source with the change, and as it was. Throws when the source does not have the text exactly once. */
export const applied = (mutant: Mutant, root: string): { readonly undo: () => void } => {
  const path = join(root, mutant.file)
  const original = readFileSync(path, "utf8")
  const places = original.split(mutant.from).length - 1
  if (places !== 1) {
    throw new Error(`the mutant ${mutant.name} no longer fits: ${mutant.file} has its text ${places} times, not once`)
  }
  writeFileSync(
    path,
    original.replace(mutant.from, () => mutant.to)
  )
  return { undo: () => writeFileSync(path, original) }
}

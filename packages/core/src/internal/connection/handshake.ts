/**
 * The handshake as a pure state machine: which commands to write, and what their replies mean.
 *
 * First write: `HELLO 3 [AUTH] [SETNAME]`, `SELECT`, `CLIENT SETINFO` (errors ignored) and a `PING`, which tells a server
 * that is still loading. A server that does not take `HELLO` gets the same in RESP2's words. The user's `onConnect` commands
 * are written after that, since they must not run twice. No command of a caller is written before `Ready`.
 *
 * A reply is believed only if it has the shape that its command's has. Else a peer that says a line before it is asked would
 * shift all replies by one, and the first caller would get another's. The text that `PING` carries is known to nobody
 * before: when it comes back, nothing before it was left over. Proxies that reply to `PING` themselves say `PONG` all the same;
 * then the shapes of the replies before it are the proof, and where there are none, an `ECHO`. Should the text come after all,
 * the `PONG` was one out of turn, and the session ends before anybody is given the text.
 *
 * A peer that closes the connection at what it does not know is sent as little as can be. There a `PONG` is all the proof; an
 * error proves nothing, and a key that nobody has is asked for.
 *
 * Follows the RESP3 specification ("Handshaking with the server"), and RESP2's AUTH, SELECT and CLIENT.
 *
 * @internal
 */
import * as Resp from "../../Resp.ts"
import type { Answer } from "../call/call.ts"
import { redactQuotedArguments } from "../commands/redaction.ts"
import { commandNamedIn, meaningOf } from "../commands/serverErrors.ts"
import type { Meaning } from "../commands/serverErrors.ts"

export type Step =
  | "hello"
  | "auth"
  | "setname"
  | "select"
  | "setinfo"
  | "role"
  | "ping"
  | "echo"
  | "absent"
  | "onConnect"

/** One write: commands, and what each is for. */
export interface Batch {
  readonly protocol: 2 | 3
  readonly steps: ReadonlyArray<Step>
  readonly commands: ReadonlyArray<Resp.Command>
  /** The text that the last `PING` or `ECHO` gives back; `undefined` when it carries nothing. */
  readonly marker: string | undefined
  /** Nothing but the marker will do: this peer has said something odd before. */
  readonly isStrict: boolean
}

export interface Settings {
  readonly protocol: "auto" | 2 | 3
  readonly username: string | undefined
  readonly password: string | undefined
  readonly name: string | undefined
  readonly database: number
  readonly libraryName: string
  readonly libraryVersion: string
  readonly onConnect: ReadonlyArray<Resp.Command>
  /** The role that the server must have; `undefined` where any will do. */
  readonly role: "primary" | "replica" | undefined
  /** A text that nobody else knows. */
  readonly marker: string
  /** Only what is needed: for a peer that has closed the connection in the middle of the handshake before. */
  readonly isPlain: boolean
}

/**
 * The next step. `transient`: the server may think otherwise soon; else it will repeat its refusal. `unwanted`: a text that is no
 * reply to what follows.
 */
export type Verdict =
  | { readonly _tag: "Send"; readonly batch: Batch; readonly warning?: string; readonly unwanted?: string }
  | { readonly _tag: "Ready"; readonly protocol: 2 | 3; readonly warning?: string; readonly unwanted?: string }
  | Refused

export interface Refused {
  readonly _tag: "Refused"
  readonly transient: boolean
  readonly detail: string
  readonly error?: Resp.ReplyError
  /** It says that its role is another one than was sought. */
  readonly wrongRole?: boolean
}

// -----------------------------------------------------------------------------
// The commands that are written
// -----------------------------------------------------------------------------

class Builder {
  readonly steps: Array<Step> = []
  readonly commands: Array<Resp.Command> = []

  add(step: Step, command: Resp.Command): this {
    this.steps.push(step)
    this.commands.push(command)
    return this
  }

  /** Adds the commands that both protocols end with. */
  finish(settings: Settings, protocol: 2 | 3, isStrict: boolean): Batch {
    const { database, isPlain, libraryName, libraryVersion } = settings
    if (database !== 0) this.add("select", ["SELECT", database])
    if (libraryName !== "" && !isPlain) {
      this.add("setinfo", ["CLIENT", "SETINFO", "LIB-NAME", libraryName])
      this.add("setinfo", ["CLIENT", "SETINFO", "LIB-VER", libraryVersion])
    }
    if (settings.role !== undefined) this.add("role", ["ROLE"])
    // Another one in each protocol: that of the first would prove nothing in the second.
    const marker = isPlain ? undefined : `${settings.marker}${protocol}`
    this.add("ping", marker === undefined ? ["PING"] : ["PING", marker])
    return { protocol, steps: this.steps, commands: this.commands, marker, isStrict }
  }
}

const resp3 = (settings: Settings): Batch => {
  const hello: Array<string> = ["HELLO", "3"]
  if (settings.password !== undefined) hello.push("AUTH", settings.username ?? "default", settings.password)
  if (settings.name !== undefined) hello.push("SETNAME", settings.name)
  return new Builder().add("hello", hello).finish(settings, 3, false)
}

const resp2 = (settings: Settings, isStrict = false): Batch => {
  const builder = new Builder()
  if (settings.password !== undefined) {
    const credentials = settings.username === undefined ? [] : [settings.username]
    builder.add("auth", ["AUTH", ...credentials, settings.password])
  }
  if (settings.name !== undefined) builder.add("setname", ["CLIENT", "SETNAME", settings.name])
  return builder.finish(settings, 2, isStrict)
}

/** Asks a peer that gave `PING` no marker back once more, by a command whose reply cannot be that of `PING`. */
const proof = ({ protocol }: Batch, settings: Settings): Batch => {
  const marker = `${settings.marker}E`
  return settings.isPlain
    ? { protocol, steps: ["absent"], commands: [["GET", marker]], marker, isStrict: false }
    : { protocol, steps: ["echo"], commands: [["ECHO", marker]], marker, isStrict: false }
}

const onConnect = ({ protocol }: Batch, { onConnect: commands }: Settings): Batch => ({
  protocol,
  steps: commands.map((): Step => "onConnect"),
  commands,
  marker: undefined,
  isStrict: false
})

/** The first write. */
export const start = (settings: Settings): Batch => (settings.protocol === 2 ? resp2(settings) : resp3(settings))

/**
 * The same greeting once more, for the primary of a group that is loading: it will serve on this very connection. `settings` must have
 * another marker than before. `undefined` where that is no use: commands of `onConnect` must not run twice, and there may be another
 * replica.
 */
export const onceMore = (
  settings: Settings,
  { isStrict, protocol, steps }: Batch,
  refused: Refused
): Batch | undefined =>
  settings.role !== "primary" || refused.error?.code !== "LOADING" || steps[0] === "onConnect"
    ? undefined
    : protocol === 2
      ? resp2(settings, isStrict)
      : resp3(settings)

// -----------------------------------------------------------------------------
// The meaning of an error
// -----------------------------------------------------------------------------

const noUsers = "the server knows no ACL users: `username` is left out, and the password alone is sent"

const noNames = "the server takes no name for the connection: the option `name` is left out"

const what: Record<Step, string> = {
  hello: "the handshake was refused",
  auth: "authentication was refused",
  setname: "the connection's name was refused",
  select: "the database could not be selected",
  setinfo: "the client's name was refused",
  role: "the server does not say what its role is",
  ping: "the server is not ready",
  echo: "the server is not ready",
  absent: "the server is not ready",
  onConnect: "a command of `onConnect` was refused"
}

const remedies: Partial<Record<Meaning, string>> = {
  wrongPassword: "check `username` and `password`",
  wantsPassword: "the server wants a password: set `password` (and `username`)",
  noPermission: "the user may not do this: grant it by ACL, or use another `username`",
  protected: "the server is in protected mode: give it a password, or bind it to this network",
  noDatabase: "the server has no such `database`",
  noPassword: "the server has no password: leave `password` out",
  full: "the server is full: raise its `maxclients`, or use fewer connections"
}

const transient: ReadonlySet<Meaning | undefined> = new Set<Meaning>([
  "notReady",
  "notNow",
  "full",
  "replica",
  "unreachable"
])

/** No other words of ours would change its mind. */
const isFinal: ReadonlySet<Meaning | undefined> = new Set<Meaning>([
  ...(["notReady", "notNow", "full", "replica", "unreachable"] as const),
  "protected",
  "wrongPassword",
  "noPassword"
])

const remedyOf = (meaning: Meaning | undefined, step: Step, { password, protocol }: Settings): string => {
  if (meaning === "wantsPassword" && password !== undefined) return ""
  if (meaning === "wrongPassword" && password !== undefined && password !== password.trim()) {
    return "; check `username` and `password`, which begins or ends with white space (the end of a line?)"
  }
  const remedy = meaning === undefined ? undefined : remedies[meaning]
  if (remedy !== undefined) return `; ${remedy}`
  return step === "hello" && protocol === 3 ? '; where there is no RESP3, set `protocol` to "auto" or 2' : ""
}

const refusal = (step: Step, { code, message }: Resp.ReplyError, settings: Settings): Verdict => {
  const error = new Resp.ReplyError({ code, message: redactQuotedArguments(message) })
  const meaning = meaningOf(error)
  const detail = `${what[step]}: ${error.message}${remedyOf(meaning, step, settings)}`
  return { _tag: "Refused", transient: transient.has(meaning), detail, error }
}

/** A server that rejects the connection sends one error before any command, then closes; no other replies follow. */
export const turnsAway = (reply: Answer): boolean => {
  if (!(reply instanceof Resp.ReplyError)) return false
  const meaning = meaningOf(reply)
  return meaning === "protected" || meaning === "full"
}

/**
 * Does the server refuse `HELLO`, and may take RESP2? There are too many words for it to know them all. `NOAUTH` is one of them
 * when a password was given: proxies say it to everything but `AUTH`.
 */
const refusesHello = (error: Resp.ReplyError, { password }: Settings): boolean => {
  const meaning = meaningOf(error)
  return meaning === "wantsPassword" ? password !== undefined : !isFinal.has(meaning)
}

// -----------------------------------------------------------------------------
// The shape of a reply
// -----------------------------------------------------------------------------

/** The protocol in a reply to `HELLO`; `undefined` when it is no such reply. */
const protocolIn = (reply: Answer): unknown => {
  if (reply instanceof Map) return reply.get("proto")
  if (!Array.isArray(reply) || reply.length % 2 !== 0) return undefined
  const at = reply.findIndex((name, index) => index % 2 === 0 && name === "proto")
  return at < 0 ? undefined : reply[at + 1]
}

/** A peer that repeats what it is sent gives a command back as the array that it is. */
const isRepeated = (reply: Answer, command: Resp.Command): boolean =>
  Array.isArray(reply) && reply.length === command.length && reply[0] === command[0]

/** A reply in words. Text is shown only where it is short and plain, as it comes from an unknown peer. */
const looksLike = (reply: Answer, command: Resp.Command): string => {
  if (isRepeated(reply, command)) return "the command itself (does it repeat what it is sent?)"
  if (reply === null) return "null"
  if (typeof reply === "string") return /^[\w .,:!-]{1,40}$/.test(reply) ? `the text "${reply}"` : "a text"
  if (reply instanceof Map) return "a map"
  if (typeof reply === "number" || typeof reply === "bigint") return "a number"
  if (reply instanceof Resp.ReplyError) return "an error that belongs to another command"
  return Array.isArray(reply) ? "an array" : "something else"
}

const odd = (batch: Batch, index: number, reply: Answer): Verdict => {
  const command = batch.commands[index] ?? []
  const said = `it answered ${String(command[0])} with ${looksLike(reply, command)}`
  const detail = `what listens there is not a Redis, or something speaks between: ${said}; check \`host\` and \`port\``
  return { _tag: "Refused", transient: false, detail }
}

/** Whether a reply that is no error has the shape of its command's. */
const hasShape = (batch: Batch, index: number, reply: Answer): boolean => {
  switch (batch.steps[index]) {
    case "hello":
      // Over a limit of the options it was a reply all the same, and nothing of it is needed.
      return reply instanceof Resp.ReplyFailure || Number(protocolIn(reply)) === batch.protocol
    case "ping":
      return reply === (batch.marker ?? "PONG") || (reply === "PONG" && !batch.isStrict)
    case "echo":
      return reply === batch.marker
    case "absent":
      return reply === null
    case "onConnect":
      return true
    case "role":
      return Array.isArray(reply) && typeof reply[0] === "string"
    default:
      return reply === "OK"
  }
}

// -----------------------------------------------------------------------------
// The meaning of the replies
// -----------------------------------------------------------------------------

/**
 * Says the error nothing of the connection? A user without the right to PING is as ready as any other, a proxy that knows no names
 * too, and a server that cannot save (MISCONF) still serves reads.
 */
const concernsCommandOnly = (error: Resp.ReplyError): boolean => {
  const meaning = meaningOf(error)
  return meaning === undefined || meaning === "noPermission"
}

/** An error that names another command of the batch is not the reply of `PING`: all replies are shifted. */
const isOfAnother = ({ commands }: Batch, error: Resp.ReplyError): boolean => {
  const named = commandNamedIn(error)
  return named !== "PING" && commands.some((words) => words.some((word) => String(word).toUpperCase() === named))
}

const judgeError = (settings: Settings, batch: Batch, index: number, error: Resp.ReplyError): Verdict | undefined => {
  const step = batch.steps[index] ?? "ping"
  switch (step) {
    case "hello":
      return settings.protocol === "auto" && refusesHello(error, settings)
        ? { _tag: "Send", batch: resp2(settings) }
        : refusal(step, error, settings)
    case "auth":
      return batch.commands[index]?.length === 3 && meaningOf(error) === "noUsers"
        ? { _tag: "Send", batch: resp2({ ...settings, username: undefined }, batch.isStrict), warning: noUsers }
        : refusal(step, error, settings)
    case "setname":
      return concernsCommandOnly(error) ? undefined : refusal(step, error, settings)
    case "setinfo":
      return undefined
    case "echo":
    case "absent":
      return commandNamedIn(error) === "PING" ? odd(batch, index, error) : undefined
    case "ping":
      if (isOfAnother(batch, error) || batch.isStrict) return odd(batch, index, error)
      return concernsCommandOnly(error) || error.code === "MISCONF" ? undefined : refusal(step, error, settings)
    default:
      return refusal(step, error, settings)
  }
}

const roles: Readonly<Record<string, string>> = { master: "primary", slave: "replica" }

/** A server of another role may be asked for again: the one who named it may know better soon. */
const judgeRole = ({ role }: Settings, reply: Answer): Verdict | undefined => {
  const [word, , , link] = Array.isArray(reply) ? reply : []
  const own = roles[String(word)] ?? "something else"
  if (own !== role) {
    const detail = `the server there is a ${own}, and the ${role} is sought`
    return { _tag: "Refused", transient: true, detail: detail.replace("a something", "something"), wrongRole: true }
  }
  if (role === "primary" || link === undefined || link === "connected") return undefined
  return { _tag: "Refused", transient: true, detail: `the replica there is not in sync (${String(link)})` }
}

/** A reply that is no error. A server may say in HELLO's that it speaks RESP2 only, and is then held to prove it. */
const judgeReply = (settings: Settings, batch: Batch, index: number, reply: Answer): Verdict | undefined => {
  if (hasShape(batch, index, reply)) return batch.steps[index] === "role" ? judgeRole(settings, reply) : undefined
  const isOlder = batch.steps[index] === "hello" && Number(protocolIn(reply)) === 2
  return isOlder && settings.protocol === "auto"
    ? { _tag: "Send", batch: resp2(settings, true) }
    : odd(batch, index, reply)
}

/** Whether a reply to `PING` without its text is no proof that nothing before it was left over. */
const needsProof = ({ isPlain }: Settings, { marker, steps }: Batch, replies: ReadonlyArray<Answer>): boolean => {
  const at = steps.indexOf("ping")
  if (at < 0) return false
  const reply = replies[at] ?? null
  if (reply instanceof Resp.ReplyError) return commandNamedIn(reply) !== "PING" && reply.code !== "MISCONF"
  return at === 0 && reply !== marker && !isPlain
}

/** The text that must not come any more: `PING` has another reply already. */
const leftOver = ({ marker, steps }: Batch, replies: ReadonlyArray<Answer>): string | undefined => {
  const at = steps.indexOf("ping")
  return at < 0 || replies[at] === marker ? undefined : marker
}

/** The meaning of a batch's replies in their order: as many as its commands, or fewer when no more will come. */
export const next = (settings: Settings, batch: Batch, replies: ReadonlyArray<Answer>): Verdict => {
  const [first = null] = replies
  if (first instanceof Resp.ReplyError && turnsAway(first)) return refusal("hello", first, settings)
  let other: Verdict | undefined
  for (let i = 0; i < batch.steps.length && i < replies.length; i++) {
    const reply = replies[i] ?? null
    const verdict =
      reply instanceof Resp.ReplyError ? judgeError(settings, batch, i, reply) : judgeReply(settings, batch, i, reply)
    // When it is to be tried in other words, what comes behind may be refused, but must be in its place.
    if (verdict?._tag === "Refused" && (other === undefined || verdict.error === undefined)) return verdict
    other ??= verdict
  }
  if (other !== undefined) return other
  const isNameless = batch.steps.some((step, i) => step === "setname" && replies[i] instanceof Resp.ReplyError)
  const unwanted = leftOver(batch, replies)
  const rest = { ...(isNameless && { warning: noNames }), ...(unwanted !== undefined && { unwanted }) }
  if (needsProof(settings, batch, replies)) return { _tag: "Send", batch: proof(batch, settings), ...rest }
  if (settings.onConnect.length > 0 && batch.steps[0] !== "onConnect") {
    return { _tag: "Send", batch: onConnect(batch, settings), ...rest }
  }
  return { _tag: "Ready", protocol: batch.protocol, ...rest }
}

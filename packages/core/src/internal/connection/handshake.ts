/**
 * The handshake as a pure state machine: which commands to write, and what their replies mean.
 *
 * First write: `HELLO 3 [AUTH] [SETNAME]`, `SELECT`, `CLIENT SETINFO` (errors ignored) and a `PING`, which tells a server
 * that is still loading. A server that does not know `HELLO` gets the same in RESP2's words. The user's `onConnect` commands
 * are written after that, since they must not run twice. No command of a caller is written before `Ready`.
 *
 * Follows the RESP3 specification ("Handshaking with the server"), and RESP2's AUTH, SELECT and CLIENT.
 *
 * @internal
 */
import * as Resp from "../../Resp.ts"
import type { Answer } from "../call/call.ts"
import { hideEchoes } from "../commands/echoes.ts"

export type Step = "hello" | "auth" | "setname" | "select" | "setinfo" | "ping" | "onConnect"

/** One write: commands, and what each is for. */
export interface Batch {
  readonly protocol: 2 | 3
  readonly steps: ReadonlyArray<Step>
  readonly commands: ReadonlyArray<Resp.Command>
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
}

/** What to do next. `transient`: the server may think otherwise soon; else it will repeat its refusal. */
export type Verdict =
  | { readonly _tag: "Send"; readonly batch: Batch; readonly warning?: string }
  | { readonly _tag: "Ready"; readonly protocol: 2 | 3 }
  | { readonly _tag: "Refused"; readonly transient: boolean; readonly detail: string; readonly error: Resp.ReplyError }

class Builder {
  readonly steps: Array<Step> = []
  readonly commands: Array<Resp.Command> = []

  add(step: Step, command: Resp.Command): this {
    this.steps.push(step)
    this.commands.push(command)
    return this
  }

  /** What both protocols end with. */
  finish(settings: Settings, protocol: 2 | 3): Batch {
    if (settings.database !== 0) this.add("select", ["SELECT", settings.database])
    if (settings.libraryName !== "") {
      this.add("setinfo", ["CLIENT", "SETINFO", "LIB-NAME", settings.libraryName])
      this.add("setinfo", ["CLIENT", "SETINFO", "LIB-VER", settings.libraryVersion])
    }
    this.add("ping", ["PING"])
    return { protocol, steps: this.steps, commands: this.commands }
  }
}

const resp3 = (settings: Settings): Batch => {
  const hello: Array<string> = ["HELLO", "3"]
  if (settings.password !== undefined) hello.push("AUTH", settings.username ?? "default", settings.password)
  if (settings.name !== undefined) hello.push("SETNAME", settings.name)
  return new Builder().add("hello", hello).finish(settings, 3)
}

const resp2 = (settings: Settings): Batch => {
  const builder = new Builder()
  if (settings.password !== undefined) {
    const credentials = settings.username === undefined ? [] : [settings.username]
    builder.add("auth", ["AUTH", ...credentials, settings.password])
  }
  if (settings.name !== undefined) builder.add("setname", ["CLIENT", "SETNAME", settings.name])
  return builder.finish(settings, 2)
}

/** The first write. */
export const start = (settings: Settings): Batch => (settings.protocol === 2 ? resp2(settings) : resp3(settings))

/** Servers before ACLs (Redis 5) know `AUTH` with a password alone. */
const knowsNoUsers = (error: Resp.ReplyError): boolean => /wrong number of arguments for 'auth'/i.test(error.message)

const noUsers = "the server knows no ACL users: `username` is left out, and the password alone is sent"

const knowsNoHello = (error: Resp.ReplyError): boolean =>
  error.code === "NOPROTO" ||
  (error.code === "ERR" && /unknown command|unsupported|not (supported|allowed|implemented)/i.test(error.message))

const TRANSIENT = new Set(["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "OOM", "READONLY"])

/** What a server says to `PING` while it answers nothing. */
const NOT_READY = new Set(["LOADING", "BUSY", "MASTERDOWN"])

const isFull = (error: Resp.ReplyError): boolean => /max number of clients/i.test(error.message)

const isTransient = (error: Resp.ReplyError): boolean => TRANSIENT.has(error.code) || isFull(error)

const what: Record<Step, string> = {
  hello: "the handshake was refused",
  auth: "authentication was refused",
  setname: "the connection's name was refused",
  select: "the database could not be selected",
  setinfo: "the client's name was refused",
  ping: "the server is not ready",
  onConnect: "a command of `onConnect` was refused"
}

const remedies: ReadonlyArray<readonly [RegExp, string]> = [
  [/^WRONGPASS/, "check `username` and `password`"],
  [/^NOAUTH/, "the server wants a password: set `password` (and `username`)"],
  [/^NOPERM/, "the user may not do this: grant it by ACL, or use another `username`"],
  [/^DENIED/, "the server is in protected mode: give it a password, or bind it to this network"],
  [/DB index|invalid DB/i, "the server has no such `database`"],
  [/without any password/i, "the server has no password: leave `password` out"],
  [/max number of clients/i, "the server is full: raise its `maxclients`, or use fewer connections"]
]

const refused = (step: Step, { code, message }: Resp.ReplyError): Verdict => {
  const error = new Resp.ReplyError({ code, message: hideEchoes(message) })
  const remedy = remedies.find(([pattern]) => pattern.test(error.message))
  const detail = `${what[step]}: ${error.message}${remedy === undefined ? "" : `; ${remedy[1]}`}`
  return { _tag: "Refused", transient: isTransient(error), detail, error }
}

/** A server that will not have us says so before it was asked, once, and closes: no further replies come. */
export const turnsAway = (reply: Answer): boolean =>
  reply instanceof Resp.ReplyError && (reply.code === "DENIED" || isFull(reply))

const errorOf = (reply: Answer): Resp.ReplyError | undefined => (reply instanceof Resp.ReplyError ? reply : undefined)

/** The meaning of a batch's replies, as many as its commands, in their order. */
export const next = (settings: Settings, batch: Batch, replies: ReadonlyArray<Answer>): Verdict => {
  const [first = null] = replies
  if (first instanceof Resp.ReplyError && turnsAway(first)) return refused("hello", first)
  for (let i = 0; i < batch.steps.length; i++) {
    const step = batch.steps[i] ?? "ping"
    const error = errorOf(replies[i] ?? null)
    if (error === undefined || step === "setinfo") continue
    if (step === "hello" && settings.protocol === "auto" && knowsNoHello(error)) {
      return { _tag: "Send", batch: resp2(settings) }
    }
    if (step === "auth" && batch.commands[i]?.length === 3 && knowsNoUsers(error)) {
      return { _tag: "Send", batch: resp2({ ...settings, username: undefined }), warning: noUsers }
    }
    // A user without the right to PING is as ready as any other, and a server that cannot save (MISCONF) still answers reads.
    if (step === "ping" && !NOT_READY.has(error.code)) continue
    return refused(step, error)
  }
  if (settings.onConnect.length > 0 && batch.steps[0] !== "onConnect") {
    const steps = settings.onConnect.map((): Step => "onConnect")
    return { _tag: "Send", batch: { protocol: batch.protocol, steps, commands: settings.onConnect } }
  }
  return { _tag: "Ready", protocol: batch.protocol }
}

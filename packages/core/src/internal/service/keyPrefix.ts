/**
 * A service whose keys all begin with a prefix: put before them on the way out, and taken off where a reply names keys.
 *
 * The command table says which arguments are keys. What it cannot know (a pattern, a command of a user's module, keys that
 * the server chooses) is known here, or refused before it is sent: a key without its prefix would be another's.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as CommandTable from "../../CommandTable.ts"
import type { ScanOptions } from "../../Redis.ts"
import type { RedisError } from "../../RedisError.ts"
import type { CallOptions, LeaseOptions, PipelineReply, Service } from "../../RedisService.ts"
import type * as Resp from "../../Resp.ts"
import { displayNameOf, firstElementOf } from "../commands/name.ts"
import { argumentError } from "../errors.ts"
import { SafeInspectable } from "../inspect.ts"

// ---------------------------------------------------------------------------------------------------------- on the way out

/** Words of a command in upper case, as far as they are text. */
const upper = (argument: Resp.Argument | undefined): string =>
  typeof argument === "string"
    ? argument.toUpperCase()
    : argument instanceof Uint8Array && argument.length < 40
      ? String.fromCharCode(...argument).toUpperCase()
      : ""

/** Commands whose keys the server chooses, or names in its replies by other means than those below. */
const chosenByServer = /^(RANDOMKEY|FT\.(?!SUG|DICT)|TS\.(MGET|MRANGE|MREVRANGE|QUERYINDEX|QUERYLABELS)$|DEBUG|HOTKEYS)/

const chosenSubcommands: ReadonlySet<string> = new Set([
  "CLIENT TRACKING",
  "CLUSTER COUNTKEYSINSLOT",
  "CLUSTER GETKEYSINSLOT",
  "COMMAND GETKEYS",
  "COMMAND GETKEYSANDFLAGS"
])

const whyRefused = (args: ReadonlyArray<Resp.Argument>): string | undefined => {
  const name = upper(args[0])
  const whole = `${name} ${upper(args[1])}`
  if (chosenByServer.test(name) || chosenSubcommands.has(whole)) {
    return "its keys are chosen by the server, so that they cannot be kept to the option `keyPrefix`"
  }
  return CommandTable.isKnown(name)
    ? undefined
    : "it is not in CommandTable, so that its keys are not known, and there is a `keyPrefix`"
}

const utf8 = new TextEncoder()

export class Prefix {
  readonly text: string
  private readonly bytes: Uint8Array
  /** As the beginning of a glob pattern. */
  private readonly pattern: string

  constructor(text: string) {
    this.text = text
    this.bytes = utf8.encode(text)
    this.pattern = text.replaceAll(/[\\*?[\]^-]/g, (character) => `\\${character}`)
  }

  private before(prefix: string, key: Resp.Argument): Resp.Argument {
    if (!(key instanceof Uint8Array)) return `${prefix}${key}`
    const bytes = prefix === this.text ? this.bytes : utf8.encode(prefix)
    const all = new Uint8Array(bytes.length + key.length)
    all.set(bytes)
    all.set(key, bytes.length)
    return all
  }

  key(key: Resp.Argument): Resp.Argument {
    return this.before(this.text, key)
  }

  glob(pattern: Resp.Argument): Resp.Argument {
    return this.before(this.pattern, pattern)
  }

  /** The command with its keys prefixed, or why it cannot be sent. What is no command is left to the service. */
  command(args: Resp.Command): Resp.Command | RedisError {
    if (!Array.isArray(args) || args.length === 0) return args
    const refused = whyRefused(args) ?? this.whySortRefused(args)
    if (refused !== undefined) return argumentError(`${displayNameOf(firstElementOf(args))} is refused: ${refused}`)
    const positions = CommandTable.keyPositions(args)
    const other = this.patterns(args)
    if (positions.length === 0) return other ?? args
    const all: Array<Resp.Argument> = [...(other ?? args)]
    for (const position of positions) all[position] = this.key(args[position])
    return all
  }

  /** With the prefix before what is a pattern of keys, and no key; undefined when nothing is. */
  private patterns(args: Resp.Command): Array<Resp.Argument> | undefined {
    switch (upper(args[0])) {
      case "KEYS":
        return args.map((argument, index) => (index === 1 ? this.glob(argument) : argument))
      case "SCAN":
        return this.scan(args)
      case "SORT":
      case "SORT_RO":
        return this.sort(args)
      case "CLUSTER":
        return upper(args[1]) === "KEYSLOT"
          ? args.map((argument, index) => (index === 2 ? this.key(argument) : argument))
          : undefined
      default:
        return undefined
    }
  }

  /** The first asterisk of a pattern stands for the element. */
  private whySortRefused(args: Resp.Command): string | undefined {
    if (!this.text.includes("*") || !/^SORT(_RO)?$/.test(upper(args[0]))) return undefined
    return this.sort(args).some((word, index) => word !== args[index])
      ? "its patterns cannot begin with a `keyPrefix` that has an asterisk"
      : undefined
  }

  private scan(args: Resp.Command): Array<Resp.Argument> {
    // Options come in pairs after the cursor.
    const at = args.findIndex((word, index) => index >= 2 && index % 2 === 0 && upper(word) === "MATCH")
    if (at === -1) return [...args, "MATCH", this.glob("*")]
    return args.map((argument, index) => (index === at + 1 ? this.glob(argument) : argument))
  }

  /** The patterns of `BY` and `GET`: those without an asterisk name no key, nor does `#`. */
  private sort(args: Resp.Command): Array<Resp.Argument> {
    const all: Array<Resp.Argument> = [...args]
    for (let index = 2; index < args.length; index++) {
      const word = upper(args[index])
      if (word === "LIMIT") index += 2
      else if (word === "STORE") index++
      else if (word === "BY" || word === "GET") {
        const pattern = args[++index]
        if (pattern !== undefined && (typeof pattern === "string" ? pattern : upper(pattern)).includes("*")) {
          all[index] = this.key(pattern)
        }
      }
    }
    return all
  }

  // -------------------------------------------------------------------------------------------------------- on the way back

  /** A key without the prefix. What has none is left as it is. */
  strip<A>(key: A): A | string | Uint8Array {
    if (typeof key === "string") return key.startsWith(this.text) ? key.slice(this.text.length) : key
    if (!(key instanceof Uint8Array) || key.length < this.bytes.length) return key
    return this.bytes.every((byte, index) => key[index] === byte) ? key.subarray(this.bytes.length) : key
  }

  /** The reply to a command, its keys without the prefix. */
  reply(args: Resp.Command, reply: Resp.Reply): Resp.Reply {
    if (typeof reply !== "object" || reply === null || !Array.isArray(args)) return reply
    const undo = keysIn[upper(args[0])]
    return undo === undefined ? reply : undo(this, reply)
  }
}

type Undo = (prefix: Prefix, reply: Resp.Reply) => Resp.Reply

const isArray = (reply: Resp.Reply | undefined): reply is Resp.ReplyArray => Array.isArray(reply)

/** `[key, …]`. */
const first: Undo = (prefix, reply) => {
  if (!isArray(reply) || reply.length === 0) return reply
  return [prefix.strip(reply[0]), ...reply.slice(1)]
}

const all: Undo = (prefix, reply) => (isArray(reply) ? reply.map((key) => prefix.strip(key)) : reply)

/** `[cursor, keys]`. */
const page: Undo = (prefix, reply) => (isArray(reply) && reply.length === 2 ? [reply[0], all(prefix, reply[1])] : reply)

/** A map, or `[[key, …], …]`. */
const relation: Undo = (prefix, reply) => {
  if (reply instanceof Map) return new Map([...reply].map(([key, value]) => [prefix.strip(key), value]))
  return isArray(reply) ? reply.map((pair) => first(prefix, pair)) : reply
}

/** Where replies name keys. */
const keysIn: Readonly<Record<string, Undo>> = {
  KEYS: all,
  SCAN: page,
  BLPOP: first,
  BRPOP: first,
  BZPOPMIN: first,
  BZPOPMAX: first,
  LMPOP: first,
  BLMPOP: first,
  ZMPOP: first,
  BZMPOP: first,
  XREAD: relation,
  XREADGROUP: relation
}

/** Something else than a reply stands in an element's place. */
const isFailure = (element: PipelineReply): element is Exclude<PipelineReply, Resp.Reply> =>
  typeof element === "object" && element !== null && "_tag" in element

// ------------------------------------------------------------------------------------------------------------ the service

class PrefixedService extends SafeInspectable implements Service {
  private readonly inner: Service
  private readonly prefix: Prefix
  readonly scan: Service["scan"]

  constructor(inner: Service, prefix: Prefix) {
    super()
    this.inner = inner
    this.prefix = prefix
    const { scan } = inner
    this.scan = scan === undefined ? undefined : (options) => this.scanAll(scan, options)
  }

  toJSON(): unknown {
    return { _tag: "PrefixedRedisService", keyPrefix: this.prefix.text, service: this.inner }
  }

  readonly command: Service["command"] = (command, options) => {
    const prefixed = this.prefix.command(command)
    if ("reason" in prefixed) return Effect.fail(prefixed)
    const reply = this.inner.command(prefixed, options)
    // Most replies name no key, and need no step of their own.
    if (keysIn[upper(command[0])] === undefined) return reply
    return Effect.map(reply, (received) => this.prefix.reply(command, received))
  }

  readonly pipeline: Service["pipeline"] = (commands, options) => this.many(commands, options, this.inner.pipeline)

  readonly transaction: Service["transaction"] = (commands, options) =>
    this.many(commands, options, this.inner.transaction)

  readonly noreply: Service["noreply"] = (commands, options) => {
    const prefixed = this.all(commands)
    return "reason" in prefixed ? Effect.fail(prefixed) : this.inner.noreply(prefixed, options)
  }

  private all(commands: ReadonlyArray<Resp.Command>): ReadonlyArray<Resp.Command> | RedisError {
    if (!Array.isArray(commands)) return commands
    const all: Array<Resp.Command> = []
    for (const command of commands) {
      const prefixed = this.prefix.command(command)
      if ("reason" in prefixed) return prefixed
      all.push(prefixed)
    }
    return all
  }

  private many(
    commands: ReadonlyArray<Resp.Command>,
    options: CallOptions | undefined,
    run: Service["pipeline"]
  ): ReturnType<Service["pipeline"]> {
    const prefixed = this.all(commands)
    if ("reason" in prefixed) return Effect.fail(prefixed)
    return Effect.map(run(prefixed, options), (replies) =>
      replies.map((reply, index) => (isFailure(reply) ? reply : this.prefix.reply(commands[index], reply)))
    )
  }

  readonly lease: Service["lease"] = (options) =>
    Effect.map(this.inner.lease(this.leaseOptions(options)), (lease) => new PrefixedService(lease, this.prefix))

  /** The key by which a cluster chooses where it leases is a key, too. */
  private leaseOptions(options: LeaseOptions | undefined): LeaseOptions | undefined {
    return options?.route === undefined ? options : { ...options, route: this.prefix.key(options.route) }
  }

  private scanAll(
    scan: NonNullable<Service["scan"]>,
    options: ScanOptions
  ): Stream.Stream<string | Uint8Array, RedisError> {
    const match = this.prefix.glob(options.match ?? "*")
    const own: ScanOptions = {
      ...options,
      match: typeof match === "string" || match instanceof Uint8Array ? match : ""
    }
    return Stream.map(scan(own), (key) => this.prefix.strip(key))
  }

  get subscribe(): Service["subscribe"] {
    return this.inner.subscribe
  }

  get timeoutMillis(): number {
    return this.inner.timeoutMillis
  }

  get status(): Service["status"] {
    return this.inner.status
  }

  get events(): Service["events"] {
    return this.inner.events
  }
}

/** The service with this prefix before all its keys; the service itself without one. */
export const withKeyPrefix = (service: Service, keyPrefix: string | undefined): Service =>
  keyPrefix === undefined || keyPrefix === "" ? service : new PrefixedService(service, new Prefix(keyPrefix))

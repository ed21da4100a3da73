/**
 * The recorded cases of clusters: reading them, and checking each against the pure machines. `null` is a pass, a text says
 * what is wrong.
 */
import * as CommandTable from "@relive/core/CommandTable"
import * as Resp from "@relive/core/Resp"
import { ClusterTopology } from "@relive/cluster"
import { mergeViews } from "../src/internal/adopt.ts"
import { readRefusal } from "../src/internal/redirect.ts"
import type { Refusal } from "../src/internal/redirect.ts"
import { slotOfCommand } from "../src/internal/routes.ts"
import { readTopology } from "../src/internal/topologyReply.ts"

export type Json = { readonly [key: string]: unknown }

export interface Result {
  readonly id: string
  readonly problem: string | null
}

export const isRecord = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const record = (value: unknown): Json => (isRecord(value) ? value : {})
export const list = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])
const text = (value: unknown): string => (typeof value === "string" ? value : "")

/** The rows of a file of JSON lines. */
export const readRows = (content: string): ReadonlyArray<Json> =>
  content
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => record(JSON.parse(line)))

const idOf = (row: Json): string => text(row["id"]) || "?"

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

const expected = (what: string, value: unknown, got: unknown): string | null =>
  same(value, got) ? null : `${what}: expected ${JSON.stringify(value)}, got ${JSON.stringify(got)}`

// ------------------------------------------------------------------------------------------------------------- slots

const keyOf = (row: Json): string | Uint8Array => {
  if (typeof row["hex"] === "string") return new Uint8Array(Buffer.from(row["hex"], "hex"))
  if (!Array.isArray(row["repeat"])) return text(row["key"])
  const [before, unit, times, after] = row["repeat"]
  return text(before) + text(unit).repeat(Number(times)) + text(after)
}

export const checkSlot = (row: Json): string | null => {
  const key = keyOf(row)
  const problem = expected("slot", row["slot"], ClusterTopology.slotOf(key))
  if (problem !== null || typeof key !== "string") return problem
  return expected("slot of its bytes", row["slot"], ClusterTopology.slotOf(new TextEncoder().encode(key)))
}

export const checkSlotNames = (names: ReadonlyArray<unknown>): ReadonlyArray<Result> =>
  names.map((name, slot) => ({
    id: `NAME-${slot}`,
    problem: expected("slot", slot, ClusterTopology.slotOf(text(name)))
  }))

// -------------------------------------------------------------------------------------------------------------- keys

export const checkKeys = (row: Json): string | null => {
  const command = list(row["command"]).map(String)
  const sorted = (values: ReadonlyArray<unknown>) => values.map(String).sort()
  const wrong = expected("keys", sorted(list(row["keys"])), sorted(CommandTable.keys(command)))
  if (wrong !== null) return wrong
  if (Array.isArray(row["positions"])) {
    const places = expected("positions", row["positions"], CommandTable.keyPositions(command))
    if (places !== null) return places
  }
  const routes = row["routes"] ?? row["positions"]
  if (!Array.isArray(routes) || (routes.length === 0 && row["error"] !== undefined)) return null
  const slots = new Set(routes.map((index) => ClusterTopology.slotOf(command[Number(index)] ?? "")))
  const slot = slotOfCommand(command)
  if (slots.size === 1) return expected("slot of the command", [...slots][0], slot)
  return slots.size === 0 || slot < 0 ? null : "its keys have several slots, and it was given one"
}

// ---------------------------------------------------------------------------------------------------- topology replies

/** Addresses in place of the symbols of a row: ports by name, ids by name, one host. */
class Names {
  private readonly ports = new Map<string, number>()
  readonly host = "127.0.0.1"

  port(name: string): number {
    const known = this.ports.get(name) ?? 21_001 + this.ports.size
    this.ports.set(name, known)
    return known
  }

  id(name: string): string {
    return Buffer.from(name).toString("hex").padEnd(40, "0")
  }

  fill(value: string): string {
    return value
      .replace(/<port:([^>]+)>/g, (_, name: string) => String(this.port(name)))
      .replace(/<id:([^>]+)>/g, (_, name: string) => this.id(name))
      .replace(/<bus:([^>]+)>/g, (_, name: string) => String(this.port(name) + 10_000))
      .replace(/<([A-Za-z]\w*)>/g, (_, name: string) => `${this.host}:${this.port(name)}`)
  }

  nameOfId(id: string): string {
    return Buffer.from(id, "hex").toString().replaceAll("\0", "")
  }

  nameOfPort(port: number): string | undefined {
    return [...this.ports].find(([, known]) => known === port)?.[0]
  }
}

/** A typed reply as bytes of either protocol: maps are flat arrays in RESP2, and null is a null bulk. */
export const encodeReply = (value: unknown, protocol: 2 | 3, fill: (text: string) => string): string => {
  const reply = record(value)
  const bulk = (content: string) => `$${Buffer.byteLength(content)}\r\n${content}\r\n`
  const many = (type: string, items: ReadonlyArray<unknown>) =>
    `${type}${items.length}\r\n${items.map((item) => encodeReply(item, protocol, fill)).join("")}`
  if ("str" in reply) return bulk(fill(text(reply["str"])))
  if ("simple" in reply) return `+${fill(text(reply["simple"]))}\r\n`
  if ("err" in reply) return `-${fill(text(reply["err"]))}\r\n`
  if ("int" in reply) return `:${fill(text(reply["int"]))}\r\n`
  if ("dbl" in reply) return protocol === 3 ? `,${text(reply["dbl"])}\r\n` : bulk(text(reply["dbl"]))
  if ("bool" in reply)
    return protocol === 3 ? `#${reply["bool"] === true ? "t" : "f"}\r\n` : `:${reply["bool"] === true ? 1 : 0}\r\n`
  if ("bytes" in reply) return bulk(Buffer.from(text(reply["bytes"]), "hex").toString("latin1"))
  if ("verbatim" in reply) return bulk(text(list(reply["verbatim"])[1]))
  if ("map" in reply) {
    const pairs = list(reply["map"]).flatMap(list)
    return protocol === 3 ? `%${pairs.length / 2}\r\n${many("*", pairs).replace(/^\*\d+\r\n/, "")}` : many("*", pairs)
  }
  if ("set" in reply) return many(protocol === 3 ? "~" : "*", list(reply["set"]))
  if ("push" in reply) return many(protocol === 3 ? ">" : "*", list(reply["push"]))
  if ("arr" in reply) return many("*", list(reply["arr"]))
  return protocol === 3 ? "_\r\n" : "$-1\r\n"
}

const decode = (bytes: string): Resp.Reply => {
  const out: Array<Resp.Decoded<Resp.Reply>> = []
  Resp.makeDecoder().push(Buffer.from(bytes), out)
  const [reply = null] = out
  return reply instanceof Resp.Push || reply instanceof Resp.ReplyFailure ? null : reply
}

/** A row as a view: in the form of the protocol asked for. */
const viewOf = (row: Json, protocol: 2 | 3, names: Names) => {
  const command = list(row["command"]).map((word) => text(word).toUpperCase())
  const nat = new Map(Object.entries(record(record(row["expect"])["natMap"])))
  const kind = command[1] === "SHARDS" ? "SHARDS" : "SLOTS"
  return readTopology(kind, decode(encodeReply(row["reply"], protocol, (part) => names.fill(part))), {
    host: names.host,
    tls: /asked over TLS/.test(text(row["state"])),
    mapAddress: (announced) => {
      const mapped = nat.get(`${announced.host}:${announced.port}`)
      return mapped === undefined ? announced : { host: names.host, port: names.port(text(mapped).slice(1, -1)) }
    }
  })
}

/** Neighbours of one owner as one range, so that only who has what is compared. */
const slotsOf = (ranges: ReadonlyArray<readonly [number, number, string]>): ReadonlyArray<unknown> => {
  const out: Array<[number, number, string]> = []
  for (const [from, to, owner] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = out[out.length - 1]
    if (last !== undefined && last[1] === from - 1 && last[2] === owner) last[1] = to
    else out.push([from, to, owner])
  }
  return out
}

const rowTable = (value: unknown): ReadonlyArray<readonly [number, number, string]> =>
  list(value).map((range) => {
    const [from, to, owner] = list(range)
    return [Number(from), Number(to), text(owner)] as const
  })

const checkRoles = (row: Json, view: ClusterTopology.Topology, names: Names): string | null => {
  const roles = record(record(row["expect"])["roles"])
  const isShards = text(list(row["command"])[1]).toUpperCase() === "SHARDS"
  for (const shard of view.shards) {
    for (const node of [shard.primary, ...shard.replicas]) {
      const name = names.nameOfId(node.id)
      const role = record(roles[name])
      const failed = list(role["flags"]).includes("fail")
      const of = node.role === "replica" ? names.nameOfId(shard.primary.id) : undefined
      // A failed primary beside its successor is told as one of the shard.
      if (failed && role["role"] === "primary" && node.role === "replica") continue
      const wrong =
        expected(`role of ${name}`, [role["role"], role["of"]], [node.role, of]) ??
        (role["hostname"] === undefined ? null : expected(`hostname of ${name}`, role["hostname"], node.hostname)) ??
        (isShards && node.health !== "loading"
          ? expected(`health of ${name}`, failed, node.health === "fail")
          : null) ??
        expected(
          `address of ${name}`,
          [names.host, true],
          [
            node.address.host.endsWith("redis.test") ? names.host : node.address.host,
            names.nameOfPort(node.address.port)?.split(":")[0] === name
          ]
        )
      if (wrong !== null) return wrong
    }
  }
  return null
}

export const checkTopology = (row: Json): string | null => {
  for (const protocol of [2, 3] as const) {
    const names = new Names()
    const view = viewOf(row, protocol, names)
    if (row["expect"] === undefined) {
      if (typeof view !== "string") return "it is no topology, and was taken for one"
      continue
    }
    if (typeof view === "string") return `RESP${protocol}: ${view}`
    const ranges = ClusterTopology.rangesOf(view).map(([from, to, id]) => [from, to, names.nameOfId(id)] as const)
    const expect = record(row["expect"])
    const wrong =
      expected("table", slotsOf(rowTable(expect["table"])), slotsOf(ranges)) ??
      expected("uncovered", expect["uncovered"], ClusterTopology.SLOTS - view.covered) ??
      checkRoles(row, view, names)
    if (wrong !== null) return `RESP${protocol}: ${wrong}`
  }
  return null
}

/** Rows that tell two views of one moment: the owner with the higher epoch is right. */
export const checkMerged = (rows: ReadonlyArray<Json>): ReadonlyArray<Result> => {
  const views = rows.filter(
    (row) => row["merged"] !== undefined && row["epochs"] !== undefined && row["expect"] !== undefined
  )
  return views.map((row) => {
    const names = new Names()
    const judged = views
      .filter((other) => same(other["merged"], row["merged"]) && same(other["epochs"], row["epochs"]))
      .sort((a, b) => (a === row ? -1 : b === row ? 1 : 0))
      .flatMap((other) => {
        const view = viewOf(other, 3, names)
        if (typeof view === "string") return []
        const epochs = new Map(
          Object.entries(record(other["epochs"])).map(([name, epoch]) => [names.id(name), Number(epoch)])
        )
        return [{ view, epochs }]
      })
    const merged = ClusterTopology.rangesOf(mergeViews(judged))
    const ranges = merged.map(([from, to, id]) => [from, to, names.nameOfId(id)] as const)
    return { id: `${idOf(row)}/merged`, problem: expected("merged", slotsOf(rowTable(row["merged"])), slotsOf(ranges)) }
  })
}

// ----------------------------------------------------------------------------------------------------- conversations

const errorOf = (reply: unknown, names: Names): Resp.ReplyError | undefined => {
  const message = record(reply)["err"]
  return typeof message === "string" ? Resp.ReplyError.fromText(names.fill(message)) : undefined
}

const pattern = /^(MOVED|ASK) (\d+) (.*):(<port:(\w+)>|\d+)$|^(MOVED|ASK) (\d+) <(\w+)>$/

/** What the recorded text says by itself, read apart from the machine. */
const verdictOf = (message: string, isBlocking: boolean, isScript: boolean): string => {
  const match = pattern.exec(message)
  if (match !== null) {
    const kind = (match[1] ?? match[6]) === "ASK" ? "ask" : "moved"
    return `${kind} ${match[2] ?? match[7]} ${match[8] ?? match[5] ?? match[4]}`
  }
  if (message.startsWith("TRYAGAIN")) return "tryAgain"
  if (/^(CLUSTERDOWN|LOADING|MASTERDOWN)/.test(message)) return "down"
  if (message.startsWith("READONLY")) return isScript || message.includes("script: ") ? "settle" : "down"
  if (message.startsWith("UNBLOCKED")) return isBlocking ? "unblocked" : "settle"
  return "settle"
}

const shown = (refusal: Refusal | undefined, names: Names): string => {
  if (refusal === undefined) return "settle"
  if (refusal._tag !== "moved" && refusal._tag !== "ask") return refusal._tag
  return `${refusal._tag} ${refusal.slot} ${names.nameOfPort(refusal.to.port) ?? refusal.to.port}`
}

interface Step {
  readonly on: string
  readonly send: ReadonlyArray<ReadonlyArray<string>>
  readonly replies: ReadonlyArray<unknown>
}

const stepsOf = (row: Json): ReadonlyArray<Step> =>
  list(row["steps"]).map((step) => {
    const told = record(step)
    return {
      on: text(told["on"]),
      send: list(told["send"]).map((command) => list(command).map(String)),
      replies: list(told["replies"])
    }
  })

const scripts = /^(EVAL|EVALSHA|FCALL)(_RO)?$/i

/** Follows one refused command to where the row shows it next: the recorded reply there is what the machine must accept. */
const follow = (
  steps: ReadonlyArray<Step>,
  from: number,
  command: ReadonlyArray<string>,
  refusal: Refusal,
  names: Names
): string | null => {
  if (refusal._tag !== "moved" && refusal._tag !== "ask") return null
  const target = names.nameOfPort(refusal.to.port)
  for (const step of steps.slice(from + 1)) {
    if (step.on !== target) continue
    for (const [index, sent] of step.send.entries()) {
      if (!same(sent, command)) continue
      const asked = step.send[index - 1]?.[0]?.toUpperCase() === "ASKING"
      if (asked !== (refusal._tag === "ask")) continue
      const error = errorOf(step.replies[index], names)
      if (error !== undefined && (error.code === "MOVED" || error.code === "ASK")) {
        return `followed to ${target}, the recorded node says ${error.message}`
      }
    }
  }
  return null
}

export const checkConversation = (row: Json): string | null => {
  const names = new Names()
  for (const name of ["A", "B", "C", "A1", "B1", "C1", "A2"]) names.port(name)
  const steps = stepsOf(row)
  for (const [at, step] of steps.entries()) {
    const isMulti = step.send.some(([name]) => name?.toUpperCase() === "MULTI")
    for (const [index, command] of step.send.entries()) {
      const reply = step.replies[index]
      const error = errorOf(reply, names)
      if (error === undefined) continue
      const name = (command[0] ?? "").toUpperCase()
      const blocking = (CommandTable.flagsOf(command) & CommandTable.Flags.blocking) !== 0
      const slot = slotOfCommand(command)
      // What EXEC is refused with concerns the transaction, which is placed by the keys in it.
      const refusal = readRefusal(
        error,
        { command: name, slot: name === "EXEC" || slot < 0 ? -1 : slot, blocking },
        names.host
      )
      const told = verdictOf(text(record(reply)["err"]), blocking, scripts.test(name))
      const wrong = expected(`step ${at + 1}, ${name}`, told, shown(refusal, names))
      if (wrong !== null) return wrong
      const isQuiet = steps.slice(at + 1).every((later) => later.send.length > 0)
      if (
        refusal !== undefined &&
        !isMulti &&
        isQuiet &&
        row["group"] !== "failover" &&
        row["group"] !== "clusterdown"
      ) {
        const lost = follow(steps, at, command, refusal, names)
        if (lost !== null) return `step ${at + 1}, ${name}: ${lost}`
      }
    }
  }
  return null
}

// ---------------------------------------------------------------------------------------------------------------- all

const each = (rows: ReadonlyArray<Json>, check: (row: Json) => string | null): ReadonlyArray<Result> =>
  rows.map((row) => {
    try {
      return { id: idOf(row), problem: check(row) }
    } catch (thrown) {
      return { id: idOf(row), problem: `it threw: ${String(thrown)}` }
    }
  })

/** The files that can be checked, and how. */
export const files: Readonly<Record<string, (content: string) => ReadonlyArray<Result>>> = {
  "slots.jsonl": (content) => each(readRows(content), checkSlot),
  "slot-names.json": (content) => checkSlotNames(list(JSON.parse(content))),
  "keys.jsonl": (content) => each(readRows(content), checkKeys),
  "slots-replies.jsonl": (content) => {
    const rows = readRows(content)
    return [...each(rows, checkTopology), ...checkMerged(rows)]
  },
  "conversations.jsonl": (content) => each(readRows(content), checkConversation)
}

/**
 * Writes `src/internal/commands/data.ts` from `commands.txt` beside this file and from what real servers say of their commands.
 *
 *     node packages/core/scripts/generate-command-table.ts [--print] [SERVER...]
 *
 * It starts each SERVER (a path; without one `RELIVE_REDIS_SERVER`, else `redis-server` on the PATH), asks for `COMMAND`, and
 * stops it. `--print` writes to stdout instead. `commands.txt` has the commands of servers that are not at hand, in the form of
 * the table: the facts of the documentation of Redis 8.10 with its modules, and of `COMMAND` of Redis 7.0, Redis of October
 * 2024 and Valkey of October 2024. A server adds what is not in there. Where both know a command and differ, stderr says so:
 * policies and keys are those of `commands.txt`, which is newer, and a flag counts that either of them has. What nobody says is
 * kept by hand in `src/internal/commands/facts.ts`, and wins.
 */
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** A reply of the server, as arrays (RESP2). */
type Value = unknown

interface CommandInfo {
  readonly name: string
  readonly flags: ReadonlySet<string>
  readonly tips: ReadonlyArray<string>
  readonly keys: ReadonlyArray<Value>
  readonly subcommands: ReadonlyArray<CommandInfo>
}

const list = (value: Value): ReadonlyArray<Value> => {
  if (!Array.isArray(value)) throw new Error(`Expected an array in the reply of COMMAND, got ${typeof value}`)
  return value
}

/** A map of RESP2: names and values in turn. */
const field = (value: Value, name: string): Value => {
  const flat = list(value)
  const index = flat.indexOf(name)
  return index < 0 ? undefined : flat[index + 1]
}

const readInfo = (value: Value): CommandInfo => {
  const info = list(value)
  return {
    name: String(info[0]),
    flags: new Set(list(info[2]).map(String)),
    tips: list(info[7]).map(String),
    keys: list(info[8]),
    subcommands: list(info[9]).map(readInfo)
  }
}

/** A key specification as the text that `src/internal/commands/keys.ts` reads. */
const keySpec = (spec: Value): string => {
  const flags = list(field(spec, "flags")).map(String)
  const [begin, find] = [field(spec, "begin_search"), field(spec, "find_keys")]
  const [beginType, findType] = [field(begin, "type"), field(find, "type")]
  if (flags.includes("incomplete") || beginType === "unknown" || findType === "unknown") return "?"
  const number = (value: Value, name: string) => Number(field(field(value, "spec"), name))
  const at = number(begin, beginType === "keyword" ? "startfrom" : "index")
  const start = beginType === "keyword" ? `${String(field(field(begin, "spec"), "keyword"))}@${at}` : String(at)
  const step = number(find, "keystep") > 1 ? `/${number(find, "keystep")}` : ""
  if (findType === "keynum") {
    if (number(find, "keynumidx") !== 0 || number(find, "firstkey") !== 1) throw new Error("A new kind of key number")
    return `n${start}${step}`
  }
  const last = number(find, "lastkey")
  const end = last === 0 ? "" : `..${last < 0 ? last : at + last}`
  const half = number(find, "limit") > 1 ? `%${number(find, "limit")}` : ""
  return `${flags.includes("not_key") ? "#" : ""}${start}${end}${step}${half}`
}

const keySpecs = (info: CommandInfo): string => [...new Set(info.keys.map(keySpec))].join(",") || "-"

const policy = (info: CommandInfo): string => {
  const tip = (name: string) => info.tips.find((text) => text.startsWith(`${name}:`))?.slice(name.length + 1)
  const response = tip("response_policy")
  return tip("request_policy") === undefined ? "-" : `${tip("request_policy")}${response ? `/${response}` : ""}`
}

/** `r` changes nothing, `b` blocks, `B` blocks when told to, `s` runs a script. */
const letters = (info: CommandInfo): string => {
  const has = (flag: string) => info.flags.has(flag)
  const blocking = has("blocking") ? (keySpecs(info).startsWith("STREAMS") ? "B" : "b") : ""
  // Of all commands with keys only the script callers can do without one.
  const script = has("no_mandatory_keys") ? "s" : ""
  return `${has("readonly") ? "r" : ""}${blocking}${script}` || "-"
}

const lines = (info: CommandInfo): ReadonlyArray<string> => [
  `${info.name} ${letters(info)} ${keySpecs(info)} ${policy(info)}`,
  ...info.subcommands.flatMap(lines)
]

const tableOf = (text: ReadonlyArray<string>): Map<string, string> =>
  new Map(text.filter((line) => line !== "").map((line) => [line.slice(0, line.indexOf(" ")), line]))

/** The facts that either has of a command: the flags of both, keys and policy of the first. */
const merged = (first: string, second: string): string => {
  const [name, flags = "", keys, tips] = first.split(" ")
  const all = [...new Set([...flags, ...(second.split(" ")[1] ?? "")])].filter((letter) => letter !== "-")
  return `${name} ${all.join("") || "-"} ${keys} ${tips}`
}

const add = (table: Map<string, string>, source: string, more: ReadonlyMap<string, string>): void => {
  for (const [name, line] of more) {
    const known = table.get(name)
    if (known !== undefined && known !== line)
      process.stderr.write(`${source} says: ${line}\n${" ".repeat(source.length)} not: ${known}\n`)
    table.set(name, known === undefined ? line : merged(known, line))
  }
}

const module = (sources: ReadonlyArray<string>, table: ReadonlyMap<string, string>): string => `/**
 * The commands of servers and what they say of them. GENERATED by scripts/generate-command-table.ts from
 * ${sources.join(", ")}: do not edit.
 *
 * A line is: name, flags (r changes nothing, b blocks, B blocks when told to, s runs a script, - none), keys (see keys.ts, -
 * none), policies of request and response in a cluster (- none). A subcommand is command|subcommand.
 *
 * @internal
 */
export const commandTableData = \`
${[...table.values()].sort().join("\n")}
\`
`

const ask = (path: string | undefined) =>
  Effect.gen(function* () {
    const server = yield* RedisServer.make(path === undefined ? {} : { binary: path })
    const commands = list(yield* server.command(["COMMAND"])).map(readInfo)
    const info = String(yield* server.command(["INFO", "server"]))
    // Valkey gives both versions, the one of Redis for compatibility.
    const version = /^(valkey)_version:(\S+)/m.exec(info) ?? /^(redis)_version:(\S+)/m.exec(info)
    const source = `${version?.[1] ?? "an unknown server"} ${version?.[2] ?? ""}`.trim()
    return { source, table: tableOf(commands.flatMap(lines)) }
  })

const program = Effect.gen(function* () {
  const paths = process.argv.slice(2).filter((argument) => !argument.startsWith("-"))
  const table = tableOf(readFileSync(new URL("commands.txt", import.meta.url), "utf8").split("\n"))
  const sources = ["commands.txt"]
  for (const path of paths.length > 0 ? paths : [undefined]) {
    const server = yield* ask(path)
    add(table, server.source, server.table)
    sources.push(server.source)
  }
  return module(sources, table)
})

const text = await Effect.runPromise(Effect.scoped(program))
if (process.argv.includes("--print")) process.stdout.write(text)
else writeFileSync(fileURLToPath(new URL("../src/internal/commands/data.ts", import.meta.url)), text)

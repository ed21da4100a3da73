/**
 * The facts of `metadata/commands.jsonl`: what servers and their sources say of each command.
 */
import { readFileSync } from "node:fs"

export interface Argument {
  readonly name: string
  readonly type:
    | "string"
    | "key"
    | "pattern"
    | "integer"
    | "double"
    | "unix-time"
    | "pure-token"
    | "block"
    | "oneof"
    | Extra
  readonly token?: string | undefined
  readonly optional?: boolean | undefined
  readonly multiple?: boolean | undefined
  readonly multiple_token?: boolean | undefined
  readonly arguments?: ReadonlyArray<Argument> | undefined
}

/** Types that no server knows: overrides use them where the metadata says less than is true. */
export type Extra =
  | "value"
  | "score"
  | "lex"
  | "bound"
  | "sample"
  | "json"
  | "vector"
  | "path"
  | "unit"
  | "aggregators"
  | "streams"

export interface Schema {
  readonly type?: string | undefined
  readonly const?: string | number | undefined
  readonly enum?: ReadonlyArray<string> | undefined
  readonly oneOf?: ReadonlyArray<Schema> | undefined
  readonly anyOf?: ReadonlyArray<Schema> | undefined
  readonly items?: Schema | ReadonlyArray<Schema> | undefined
  readonly additionalItems?: Schema | boolean | undefined
  readonly properties?: Readonly<Record<string, Schema>> | undefined
  readonly additionalProperties?: Schema | boolean | undefined
  readonly patternProperties?: Readonly<Record<string, Schema>> | undefined
}

export interface KeySpec {
  readonly flags: ReadonlyArray<string>
  readonly begin: Readonly<Record<string, unknown>>
  readonly find: Readonly<Record<string, unknown>>
}

export interface Facts {
  readonly name: string
  readonly group: string
  readonly since?: string | undefined
  readonly changed?: ReadonlyArray<string> | undefined
  readonly deprecated_since?: string | undefined
  readonly replaced_by?: ReadonlyArray<string> | undefined
  readonly arity: number
  readonly flags: ReadonlyArray<string>
  readonly acl: ReadonlyArray<string>
  readonly tips?: ReadonlyArray<string> | undefined
  readonly complexity?: ReadonlyArray<string> | undefined
  readonly keys?: ReadonlyArray<KeySpec> | undefined
  readonly arguments?: ReadonlyArray<Argument> | undefined
  readonly reply?: Schema | undefined
  readonly servers: ReadonlyArray<string>
}

export const readFacts = (): ReadonlyMap<string, Facts> => {
  const file = new URL("../../metadata/commands.jsonl", import.meta.url)
  const all: ReadonlyArray<Facts> = readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
  return new Map(all.map((facts) => [facts.name, facts]))
}

/** The name of a command in the words that are sent: with its subcommand where there is one. */
export const nameIn = (facts: ReadonlyMap<string, unknown>, words: ReadonlyArray<string>): string => {
  const [first = "", second = ""] = words
  const whole = `${first} ${second}`.toUpperCase()
  return facts.has(whole) ? whole : first.toUpperCase()
}

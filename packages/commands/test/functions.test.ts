/**
 * What holds for all functions: their words can be read back, what no type stops is refused, and no reader throws.
 */
import { assert, describe, it } from "@effect/vitest"
import type * as Reader from "@relive/core/Reader"
import * as Resp from "@relive/core/Resp"
import { readFileSync } from "node:fs"
import { toNeutral } from "../conformance/neutral.ts"
import { commandOf, valueOf, type Recording } from "../conformance/records.ts"
import { allCalls, argumentsWith, type Call, makerOf, optionCalls } from "../conformance/samples.ts"
import { argumentsOf, equivalent, wordOf } from "../conformance/words.ts"
import { allFunctions } from "../scripts/lib/functions.ts"

const calls = [...allCalls(), ...optionCalls()]

const recordings: ReadonlyArray<Recording> = readFileSync(
  new URL("./fixtures/recordings.jsonl", import.meta.url),
  "utf8"
)
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line))

const titleOf = ({ one, args }: Call): string => `${one.family.namespace}.${one.name}(${JSON.stringify(args)})`

describe("functions", () => {
  it("are 540", () => {
    assert.strictEqual(allFunctions().length, 540)
  })

  it("make words that begin with the command, and that its grammar takes", () => {
    const wrong = calls.filter(({ one, command }) => {
      const name = one.facts.name.split(" ")
      const words = command.args.map(wordOf)
      if (command.failure !== undefined || words.slice(0, name.length).join(" ") !== one.facts.name) return true
      const again = argumentsOf(one.signature, words.slice(name.length))
      if (again === undefined) return true
      return !equivalent(one.signature, name.length, words, makerOf(one)(...again).args.map(wordOf))
    })
    assert.deepStrictEqual(wrong.map(titleOf), [])
  })

  it("refuse two options that exclude each other", () => {
    const accepted = allFunctions().flatMap((one) =>
      one.signature.options.flatMap((first, index) =>
        one.signature.options.slice(index + 1).flatMap((second) => {
          if (first.group === undefined || first.group !== second.group) return []
          const { failure } = makerOf(one)(...argumentsWith(one, [first.name, second.name]))
          const isNamed = failure?.message.includes(first.name) === true && failure.message.includes(second.name)
          return isNamed ? [] : [`${one.name}: ${first.name} and ${second.name}`]
        })
      )
    )
    assert.deepStrictEqual(accepted, [])
  })

  it("refuse an empty list, and a number that is no integer", () => {
    const accepted = allFunctions().flatMap((one) =>
      one.signature.params.flatMap((field, index) => {
        if (field.optional || field.empty === true) return []
        const args = [...argumentsWith(one, [])]
        const wrong =
          field.shape.tag === "many" || field.shape.tag === "relation"
            ? []
            : field.shape.tag === "scalar" && field.shape.type === "integer"
              ? 1.5
              : undefined
        if (wrong === undefined) return []
        args[index] = wrong
        const { failure } = makerOf(one)(...args)
        return failure?.message.includes(`\`${field.name}\``) === true ? [] : [`${one.name}: ${field.name}`]
      })
    )
    assert.deepStrictEqual(accepted, [])
  })

  it("are not disturbed by a command that was refused before", () => {
    const [one] = allFunctions().filter(({ name }) => name === "del")
    assert.isDefined(makerOf(one)([]).failure)
    assert.deepStrictEqual(makerOf(one)("key").args, ["DEL", "key"])
    assert.isUndefined(makerOf(one)("key").failure)
  })
})

describe("readers", () => {
  const readers = new Map<Reader.Reader<unknown, unknown>, string>()
  for (const call of calls) if (!readers.has(call.command.reply)) readers.set(call.command.reply, titleOf(call))

  /** Forms that no recording has. */
  const more = [
    "*0\r\n",
    "%0\r\n",
    "~0\r\n",
    "_\r\n",
    "*-1\r\n",
    "*1\r\n_\r\n",
    "*1\r\n*0\r\n",
    "*2\r\n_\r\n_\r\n",
    "*2\r\n-ERR one\r\n-ERR two\r\n",
    "*3\r\n$1\r\na\r\n-ERR one\r\n:1\r\n",
    "%1\r\n-ERR one\r\n:1\r\n",
    "%1\r\n*1\r\n:1\r\n*1\r\n:1\r\n",
    ":9223372036854775807\r\n",
    "*2\r\n$1\r\na\r\n:9223372036854775807\r\n",
    "(123456789012345678901234567890\r\n",
    "#t\r\n",
    ",nan\r\n",
    "$0\r\n\r\n",
    "*3\r\n:1\r\n:2\r\n:3\r\n"
  ]
  const texts = [...new Set([...recordings.flatMap(({ resp2, resp3 }) => [resp2, resp3]), ...more])]

  it("give a value or a DecodeError for whatever comes, and never `undefined`", () => {
    const wrong: Array<string> = []
    for (const [reader, title] of readers) {
      for (const text of texts) {
        for (const mode of ["text", "bytes"] as const) {
          try {
            toNeutral(valueOf(reader, text, mode))
          } catch (error) {
            wrong.push(`${title} of ${JSON.stringify(text.slice(0, 80))} as ${mode}: ${String(error)}`)
          }
        }
      }
    }
    assert.deepStrictEqual(wrong.slice(0, 20), [])
    assert.isAbove(readers.size, 100)
  })

  it("give no text in bytes mode but names, and what the server sent as a simple string", () => {
    const wrong = recordings.flatMap((record) => {
      const command = commandOf(record.name, record.command)
      // The role of a server is a name, by which the forms of the reply are told apart.
      if (command === undefined || record.name === "ROLE") return []
      return [record.resp2, record.resp3].flatMap((reply) => {
        const simple = new Set([...reply.matchAll(/\+(.*?)\r\n/g)].map(([, text]) => text))
        return stringsIn(valueOf(command.reply, reply, "bytes"))
          .filter((text) => !simple.has(text))
          .map((text) => `${record.id}: ${text}`)
      })
    })
    assert.deepStrictEqual(wrong, [])
  })
})

/** Strings that are values: names of records are not. */
const stringsIn = (value: unknown): ReadonlyArray<string> => {
  if (typeof value === "string") return [value]
  if (value instanceof Uint8Array || typeof value !== "object" || value === null) return []
  if (value instanceof Resp.ReplyError || value instanceof Resp.DecodeError) return []
  if (Array.isArray(value)) return value.flatMap(stringsIn)
  if (value instanceof Set) return [...value].flatMap(stringsIn)
  return Object.values(value).flatMap(stringsIn)
}

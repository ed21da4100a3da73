/**
 * The metadata against a server: what it says of its commands the metadata says, too. A newer server may know more.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redis } from "@relive/core"
import { RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { CommandArgumentDocs, CommandDocs } from "../src/Reply.ts"
import { Commands } from "../src/index.ts"
import { type Argument, readFacts } from "../scripts/lib/facts.ts"

const redis = Layer.unwrap(Effect.map(RedisServer.RedisServer, ({ url }) => Redis.layer(url))).pipe(
  Layer.provideMerge(RedisServer.layer())
)

/** The words of an argument and all that it contains. (Its names change from version to version.) */
const words = (argument: Argument | CommandArgumentDocs): ReadonlyArray<string> => [
  ...(argument.token === undefined ? [] : [argument.token]),
  ...(argument.arguments ?? []).flatMap(words)
]

/** All commands with their subcommands, whose names are as in `config|get`. */
const all = (docs: Readonly<Record<string, CommandDocs>>): ReadonlyArray<readonly [string, CommandDocs]> =>
  Object.entries(docs).flatMap(([name, one]) => [
    [name.replace("|", " ").toUpperCase(), one] as const,
    ...all(one.subcommands ?? {})
  ])

/** Newer servers correct what 7.0 says of the first, and an empty text is no word of the second. */
const corrected: ReadonlySet<string> = new Set(["CLIENT PAUSE: since 2.9.50, not 3.0.0", "MIGRATE: "])

describe("the metadata", () => {
  it.live("knows the commands of the server, since when they are there, and their words", () =>
    Effect.gen(function* () {
      const facts = readFacts()
      const docs = all(yield* Commands.commandDocs())
      const version = /redis_version:(\S+)/.exec(yield* Commands.info("server"))?.[1] ?? ""
      const unknown = docs.flatMap(([name]) => (facts.has(name) ? [] : [name]))
      const others = docs.flatMap(([name, one]) => {
        const known = facts.get(name)
        if (known === undefined) return []
        const ours = new Set((known.arguments ?? []).flatMap(words))
        const missing = (one.arguments ?? []).flatMap(words).filter((word) => !ours.has(word))
        return [
          ...(known.since === one.since ? [] : [`${name}: since ${one.since}, not ${known.since}`]),
          ...missing.map((word) => `${name}: ${word}`)
        ].filter((difference) => !corrected.has(difference))
      })
      assert.isAbove(docs.length, 350)
      // Of another server the differences are only told.
      if (!version.startsWith("7.0.")) return yield* Effect.logInfo({ version, unknown, others })
      assert.deepStrictEqual({ unknown, others }, { unknown: [], others: [] })
    }).pipe(Effect.provide(redis))
  )
})

/**
 * Rows that have nothing to be shown here, with the reason. A row leaves this list with the first test that shows it.
 */
import { assert, describe, it } from "@effect/vitest"
import { RedisOptions } from "@relive/core"
import * as Result from "effect/Result"
import { departs, notApplicable, overridden } from "./support.ts"

const absent: ReadonlyArray<readonly [id: string, what: string, reason: string]> = [
  ["OPT-018", "options of the Erlang process", "there is no Erlang process; an unknown option is an error"],
  [
    "OPT-019",
    "options of a pub/sub client",
    "subscriptions belong to a service, whose options hold for their connection, the health check too; they have no client of their own"
  ],
  [
    "POOL-002",
    "a name of an unsupported kind",
    "names are values of one type, `Redis.Name(id)`: no other kind can be given"
  ],
  ["POOL-003", "a registry over several nodes", "processes live in one program; there is no distributed registry"]
]

describe("Not here", () => {
  for (const [id, what, reason] of absent) it.skip(`${id} ${what}`, departs(notApplicable(id, reason)), () => {})
})

describe("The option `database`", () => {
  it(
    "OPT-029 is a number in a record and a text where all is text: in a URL and in the environment",
    departs(
      overridden(
        "OPT-029",
        "a record is typed, and a text where a number is meant is an error; URL and `Config` read texts"
      )
    ),
    () => {
      const resolve = (input: unknown) => RedisOptions.resolve(input as RedisOptions.Input)
      for (const input of [{ database: 3 }, "redis://h/3", "redis://h?db=3"]) {
        assert.strictEqual(Result.getOrThrow(resolve(input)).database, 3)
      }
      assert.isTrue(Result.isFailure(resolve({ database: "3" })))
    }
  )
})

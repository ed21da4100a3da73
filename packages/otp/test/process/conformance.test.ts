/** The recorded traces of servers, links, monitors, names and registries, one test each. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { parse } from "../../conformance/processScenario.ts"
import { runFile } from "../../conformance/runner.ts"

const folder = path.join(import.meta.dirname, "..", "fixtures", "process")

describe("process scenarios", () => {
  for (const file of fs.readdirSync(folder)) {
    it.live(path.basename(file, ".json"), () =>
      Effect.map(runFile(path.join(folder, file)), (problem) => assert.isUndefined(problem))
    )
  }
})

describe("files that are no scenarios are refused", () => {
  const scenario = (steps: ReadonlyArray<unknown>, more: object = {}) => ({
    format: 1,
    name: "n",
    title: "t",
    rules: [],
    recorded_with: {},
    family: "server",
    servers: [],
    steps,
    expected: [],
    ...more
  })
  const refused: ReadonlyArray<readonly [name: string, scenario: unknown, message: RegExp]> = [
    ["an unknown step", scenario([{ op: "dance" }]), /unknown step "dance"/],
    ["an unknown field of a step", scenario([{ op: "sleep", ms: 1, why: 1 }]), /unknown field "why"/],
    ["a field of another step", scenario([{ op: "sleep", ms: 1, gate: "g" }]), /unknown field "gate"/],
    ["a missing field", scenario([{ op: "sleep" }]), /no field "ms"/],
    ["a cast to nobody", scenario([{ op: "cast", msg: { m: "a" } }]), /not one of to/],
    [
      "an unknown field of a message, deep down",
      scenario([{ op: "burst", items: [{ op: "cast", to: "s", msg: { m: "a", continue: { m: "b", jump: 1 } } }] }]),
      /unknown field "jump"/
    ],
    ["an unknown reason", scenario([{ op: "signal", to: "s", reason: "bored" }]), /not a reason: bored/],
    ["two init outcomes", scenario([], { servers: [{ id: "s", init: { gate: "g", stop: "normal" } }] }), /one outcome/],
    ["an unknown field of the file", scenario([], { extra: 1 }), /unknown field "extra"/]
  ]
  for (const [name, value, message] of refused) it(name, () => assert.throws(() => parse(value), message))
})

import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { mutants } from "../src/BrokenLaws.ts"
import { mutants as ofClusters } from "../src/cluster/BrokenClusters.ts"

const workspace = resolve(import.meta.dirname, "../../..")

// That the soak catches them takes minutes; that they still fit shows here, with the change that moved the code.
describe("the mutants", () => {
  for (const { name, file, from } of [...mutants, ...ofClusters]) {
    it(`${name} fits the sources`, () => {
      const places = readFileSync(resolve(workspace, file), "utf8").split(from).length - 1
      assert.strictEqual(places, 1, `${file} has its text ${places} times`)
    })
  }
})

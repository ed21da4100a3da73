/**
 * What a program bundles: what it uses, and nothing of other families. Core and Effect are not counted.
 */
import { assert, describe, it } from "@effect/vitest"
import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"

const entry = fileURLToPath(new URL("./entry.ts", import.meta.url))

const bundle = async (code: string) => {
  const build = await rolldown({
    input: "entry",
    external: /^(@relive\/core|effect)/,
    plugins: [
      {
        name: "entry",
        resolveId: (id) => (id === "entry" ? entry : undefined),
        load: (id) => (id === entry ? code : undefined)
      }
    ]
  })
  const { output } = await build.generate({ format: "esm", minify: true })
  await build.close()
  const [chunk] = output
  return { text: chunk.code, modules: chunk.moduleIds.filter((id) => id.includes("generated")) }
}

const using = (names: ReadonlyArray<string>): string =>
  `import { Commands } from "@relive/commands"; console.log(${names.map((name) => `Commands.${name}`).join(", ")})`

describe("a bundle", () => {
  it("of three commands is small", async () => {
    const { text } = await bundle(using(["get", "set", "hgetall"]))
    assert.isAtMost(text.length, 1500)
    assert.include(text, "HGETALL")
    assert.notInclude(text, "HSETNX")
  })

  it("has nothing of a family that is not used", async () => {
    const { text, modules } = await bundle(using(["geosearch"]))
    assert.deepStrictEqual(
      modules.map((id) => id.replace(/^.*\//, "")),
      ["geo.ts"]
    )
    for (const word of ["XREADGROUP", "ZRANGE", "FT.SEARCH", "GEOHASH"]) assert.notInclude(text, word)
  })
})

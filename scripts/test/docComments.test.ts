import { assert, describe, it } from "@effect/vitest"
import { missingDocs } from "../lib/docComments.ts"

const header = "/** A module. */\n"
const doc = "/**\n * Says what.\n *\n * @since 0.1.0\n * @category models\n */\n"
const messages = (text: string) => missingDocs("A.ts", header + text).map(({ message }) => message)

describe("doc comments", () => {
  it("accepts what is documented", () => {
    const kinds = ["const a = 1", "function a() {}", "class A {}", "type A = 1", "interface A {}", "const { a } = b"]
    for (const each of kinds) assert.deepStrictEqual(messages(`${doc}export ${each}`), [], each)
  })

  it("finds each kind of export that is not", () => {
    const kinds = ["const a = 1", "function a() {}", "class a {}", "type a = 1", "interface a {}", "namespace a {}"]
    for (const each of kinds) assert.deepStrictEqual(messages(`export ${each}`), ["a has no doc comment"], each)
    assert.deepStrictEqual(messages(`const x = 1\nexport default x`), ["default has no doc comment"])
  })

  it("the header of the module is not the doc of its first export, nor the other way round", () => {
    assert.deepStrictEqual(messages("export const a = 1"), ["a has no doc comment"])
    assert.deepStrictEqual(
      missingDocs("A.ts", `${doc}export const a = 1`).map(({ message }) => message),
      ["the module does not open with a comment on itself"]
    )
    assert.deepStrictEqual(messages(`import "x"\nexport const a = 1`), ["a has no doc comment"])
  })

  it("the doc of a neighbour does not count, with non-ASCII text before it neither", () => {
    assert.deepStrictEqual(messages(`${doc}export const ä = "漢😀"\n\nexport const b = 1`), ["b has no doc comment"])
  })

  it("a comment that is none for documentation does not count, nor does it hide one", () => {
    assert.deepStrictEqual(messages(`// a\nexport const a = 1`), ["a has no doc comment"])
    assert.deepStrictEqual(messages(`/* a */\nexport const a = 1`), ["a has no doc comment"])
    assert.deepStrictEqual(messages(`${doc}// why\nexport const a = 1`), [])
  })

  it("asks for words and tags", () => {
    const empty = messages("/**\n * @since 0.1.0\n * @category models\n */\nexport const a = 1")
    assert.deepStrictEqual(empty, ["the doc comment of a says nothing"])
    const untagged = messages("/** Words. */\nexport const a = 1")
    assert.deepStrictEqual(untagged, ["the doc comment of a lacks @since and @category"])
  })

  it("one overload's comment serves all, a type's does not serve the value of its name", () => {
    assert.deepStrictEqual(
      messages(`${doc}export function a(x: 1): 1\nexport function a(x: 2): 2\nexport function a() {}`),
      []
    )
    assert.deepStrictEqual(messages(`${doc}export type A = 1\nexport const A = 1`), ["A has no doc comment"])
  })

  it("looks at renamed exports where they are declared, and into namespaces", () => {
    assert.deepStrictEqual(messages(`${doc}const _void = 1\nexport { _void as void }`), [])
    assert.deepStrictEqual(messages(`const x = 1\nexport { x as y }`), ["y has no doc comment"])
    assert.deepStrictEqual(messages(`${doc}export namespace N { export type A = 1 }`), ["N.A has no doc comment"])
  })

  it("leaves re-exports of the package's own modules to these modules", () => {
    assert.deepStrictEqual(messages(`export * as A from "./A.ts"\nexport { b } from "./B.ts"`), [])
    assert.deepStrictEqual(messages(`export { b } from "elsewhere"`), ["b has no doc comment"])
  })

  it("says where, and reports what is no TypeScript", () => {
    const found = missingDocs("A.ts", `${header}export const a = 1\n`)
    assert.deepStrictEqual(found, [{ line: 2, message: "a has no doc comment" }])
    assert.strictEqual(
      missingDocs("A.ts", "export const a = 1")[0]?.message,
      "the module does not open with a comment on itself"
    )
    assert.isAbove(messages("export const = ").length, 0)
  })
})

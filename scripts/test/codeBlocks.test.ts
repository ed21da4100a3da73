import { assert, describe, it } from "@effect/vitest"
import * as CodeBlocks from "../lib/codeBlocks.ts"

describe("code blocks", () => {
  it("finds TypeScript in Markdown, with its line and whether it runs", () => {
    const text = "# A\n\n```ts\nconst a = 1\n```\n\n```sh\nls\n```\n\n```ts run\nb()\nc()\n```\n"
    assert.deepStrictEqual(CodeBlocks.inMarkdown(text), [
      { line: 4, code: "const a = 1", isRunnable: false },
      { line: 12, code: "b()\nc()", isRunnable: true }
    ])
  })

  it("keeps fences inside longer fences, and code inside lists", () => {
    assert.deepStrictEqual(CodeBlocks.inMarkdown("````md\n```ts\na\n```\n````\n"), [])
    assert.deepStrictEqual(
      CodeBlocks.inMarkdown("- x\n  ```ts\n  if (a) {\n    b\n  }\n  ```\n")[0]?.code,
      "if (a) {\n  b\n}"
    )
  })

  it("finds TypeScript in doc comments, without their stars", () => {
    const text = `import "x"\n\n/**\n * Says.\n *\n * @example\n * \`\`\`ts\n * f({\n *   a: 1\n * })\n * \`\`\`\n */\nexport const f = 1\n`
    assert.deepStrictEqual(CodeBlocks.inDocComments(text), [{ line: 8, code: "f({\n  a: 1\n})", isRunnable: false }])
  })

  it("does not look into plain comments and code", () => {
    assert.deepStrictEqual(CodeBlocks.inDocComments("/* ```ts\na\n``` */\n// ```ts\n"), [])
  })
})

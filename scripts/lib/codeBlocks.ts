/**
 * The TypeScript in Markdown and in doc comments.
 */

/** A fenced block of TypeScript. */
export interface CodeBlock {
  /** Where its first line of code stands, from 1. */
  readonly line: number
  readonly code: string
  /** The fence says `ts run`: it is a program that ends by itself, with exit code 0. */
  readonly isRunnable: boolean
}

const fence = /^(?<indent>[ \t]*)(?<marks>`{3,}|~{3,})[ \t]*(?<info>.*)$/

/** The blocks that some lines hold, each line as `[its number, its text]`. */
const blocksIn = (lines: ReadonlyArray<readonly [number, string]>): ReadonlyArray<CodeBlock> => {
  const blocks: Array<CodeBlock> = []
  let open: { readonly marks: string; readonly words: ReadonlyArray<string>; readonly indent: number } | undefined
  let code: Array<string> = []
  let start = 0
  for (const [number, text] of lines) {
    const { marks = "", info = "", indent = "" } = fence.exec(text)?.groups ?? {}
    if (open === undefined) {
      if (marks === "") continue
      open = { marks, words: info.split(/\s+/), indent: indent.length }
      code = []
      start = number + 1
    } else if (marks.startsWith(open.marks) && info === "") {
      if (open.words[0] === "ts" || open.words[0] === "typescript") {
        blocks.push({ line: start, code: code.join("\n"), isRunnable: open.words.includes("run") })
      }
      open = undefined
    } else {
      code.push(text.slice(Math.min(open.indent, text.length - text.trimStart().length)))
    }
  }
  return blocks
}

const numbered = (text: string, from = 1) => text.split("\n").map((line, index) => [from + index, line] as const)

/** The blocks of a Markdown file. */
export const inMarkdown = (text: string): ReadonlyArray<CodeBlock> => blocksIn(numbered(text))

const docComment = /\/\*\*(?!\/)[\s\S]*?\*\//g

/** The blocks in the doc comments of a source file. */
export const inDocComments = (text: string): ReadonlyArray<CodeBlock> =>
  [...text.matchAll(docComment)].flatMap((match) => {
    const first = text.slice(0, match.index).split("\n").length
    return blocksIn(numbered(match[0], first).map(([line, each]) => [line, each.replace(/^[ \t]*\*(?!\/) ?/, "")]))
  })

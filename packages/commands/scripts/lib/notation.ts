/**
 * A short notation for argument trees, for overrides: the same nodes as in the metadata.
 *
 * | written | means |
 * |---|---|
 * | `WORD` | a word of its own |
 * | `<name:type>` | one value; `:string` may be left out |
 * | `[name: …]` | a block |
 * | `(name: a \| b)` | one of several |
 * | `WORD <…>`, `WORD […]`, `WORD (…)` | a word before a value |
 * | `{…}` | optional |
 * | `…...` | several; `...T` with the word before each |
 */
import type { Argument } from "./facts.ts"

const token = /\s*(\.\.\.T?|[{}[\]()|]|<[^>]*>|[^\s{}[\]()|<>]+)/y

const tokens = (text: string): ReadonlyArray<string> => {
  const all: Array<string> = []
  token.lastIndex = 0
  for (let match = token.exec(text); match !== null; match = token.exec(text)) all.push(match[1])
  return all
}

const isWord = (text: string | undefined): text is string =>
  text !== undefined && !/^([{}[\]()|]|<.*>|\.\.\.T?)$/.test(text)

/** A word that is the name of a block: `[name: …`. */
const isName = (text: string | undefined): text is string => text !== undefined && text.length > 1 && text.endsWith(":")

class Reader {
  private at = 0
  private readonly all: ReadonlyArray<string>

  constructor(text: string) {
    this.all = tokens(text)
  }

  sequence(end: ReadonlyArray<string>): Array<Argument> {
    const nodes: Array<Argument> = []
    while (this.at < this.all.length && !end.includes(this.all[this.at])) nodes.push(this.node())
    return nodes
  }

  private expect(text: string): void {
    if (this.all[this.at] !== text) throw new Error(`Expected ${text}, found ${this.all[this.at]} at ${this.at}`)
    this.at++
  }

  private node(): Argument {
    if (this.all[this.at] === "{") {
      this.at++
      const inner = this.sequence(["}"])
      this.expect("}")
      if (inner.length !== 1) throw new Error(`{…} holds ${inner.length} nodes: make a block of them`)
      return { ...inner[0], optional: true }
    }
    const node = this.plainNode()
    const repeat = this.all[this.at]
    if (repeat !== "..." && repeat !== "...T") return node
    this.at++
    return repeat === "..." ? { ...node, multiple: true } : { ...node, multiple: true, multiple_token: true }
  }

  private plainNode(): Argument {
    const text = this.all[this.at++]
    if (text.startsWith("<")) {
      const [name, type = "string"] = text.slice(1, -1).split(":")
      return { name, type: type as Argument["type"] }
    }
    if (text === "[" || text === "(") return this.group(text)
    if (!isWord(text)) throw new Error(`Unexpected ${text}`)
    const next = this.all[this.at]
    if (next === "[" || next === "(" || next?.startsWith("<")) return { ...this.plainNode(), token: text }
    return { name: text.toLowerCase(), type: "pure-token", token: text }
  }

  private group(open: string): Argument {
    const label = this.all[this.at]
    const name = isName(label) ? label.slice(0, -1) : ""
    if (name !== "") this.at++
    if (open === "[") {
      const inner = this.sequence(["]"])
      this.expect("]")
      return { name, type: "block", arguments: inner }
    }
    const cases: Array<Argument> = []
    do {
      if (this.all[this.at] === "|") this.at++
      const inner = this.sequence(["|", ")"])
      cases.push(inner.length === 1 ? inner[0] : { name: "", type: "block", arguments: inner })
    } while (this.all[this.at] === "|")
    this.expect(")")
    return { name, type: "oneof", arguments: cases }
  }
}

export const args = (text: string): ReadonlyArray<Argument> => new Reader(text).sequence([])

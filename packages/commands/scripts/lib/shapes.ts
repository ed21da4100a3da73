/**
 * What the arguments of a command are for its caller: positional parameters, one object of options, and where each of them
 * goes on the wire.
 */
import type { Argument, Extra, Facts } from "./facts.ts"
import { argumentName, camel, plural } from "./names.ts"

export type Scalar = "key" | "value" | "integer" | "double" | Exclude<Extra, "streams">

export type Shape =
  | { readonly tag: "scalar"; readonly type: Scalar }
  /** One word of several. */
  | { readonly tag: "literal"; readonly words: ReadonlyArray<string> }
  /** There or not: the words before it are all. */
  | { readonly tag: "flag" }
  /** Several values, one after the other, as an object or a tuple. */
  | { readonly tag: "group"; readonly form: "object" | "tuple"; readonly parts: ReadonlyArray<Part> }
  /** Exactly one of the members. */
  | { readonly tag: "oneof"; readonly cases: ReadonlyArray<Field> }
  | { readonly tag: "many"; readonly item: Shape; readonly each: ReadonlyArray<string> }
  /** A relation of names and values. */
  | { readonly tag: "relation"; readonly key: Shape; readonly value: Shape }
  /** Keys and ids of streams: two lists on the wire, one relation for the caller. */
  | { readonly tag: "streams" }

export interface Field {
  readonly name: string
  /** The words before the value. */
  readonly wire: ReadonlyArray<string>
  readonly shape: Shape
  readonly optional: boolean
  /** Members of one group exclude each other. */
  readonly group?: number | undefined
  /** The number before several values: of them, or of their words. */
  readonly count?: "items" | "words" | undefined
  /** The text that is sent when it is not given. */
  readonly fallback?: string | undefined
  /** Its own name, where `name` is that of the word before it. */
  readonly own: string
  /** Not sent: it chooses how the reply is read. */
  readonly reading?: true | undefined
  /** None at all is allowed. */
  readonly empty?: boolean | undefined
}

export type Part =
  | { readonly tag: "word"; readonly wire: ReadonlyArray<string> }
  | { readonly tag: "field"; readonly field: Field }
  /** A positional parameter, at the top only. */
  | { readonly tag: "param"; readonly field: Field }

export interface Signature {
  readonly parts: ReadonlyArray<Part>
  readonly params: ReadonlyArray<Field>
  readonly options: ReadonlyArray<Field>
}

/** A shape, the words that it begins with, and the number before its values. */
interface Made {
  readonly shape: Shape
  readonly wire: ReadonlyArray<string>
  readonly count?: Field["count"]
  readonly empty?: boolean | undefined
}

/** Counts that the caller need not give. */
const countNames = /^(numkeys|numfields|nargs|count|numids|num_fields|numslots|numranges|nproperties|numKeys)$/

const isScalar = (node: Argument): boolean => !["block", "oneof", "pure-token"].includes(node.type)

const isWord = (node: Argument): boolean => node.type === "pure-token"

const wireOf = (node: Argument): ReadonlyArray<string> => (node.token === undefined ? [] : node.token.split(" "))

const isUnit = (node: Argument): boolean =>
  (node.arguments ?? [])
    .map(({ token }) => token?.toLowerCase())
    .toSorted()
    .join() === "ft,km,m,mi"

const isPlainWord = (token: string): boolean => /^[A-Za-z]/.test(token)

/** The number of the values that follow: it is computed. */
const isCountOf = (node: Argument, next: Argument | undefined): boolean =>
  countNames.test(node.name) &&
  isScalar(node) &&
  node.token === undefined &&
  next?.multiple === true &&
  next.token === undefined

class Builder {
  private readonly facts: Facts
  private groups = 0

  constructor(facts: Facts) {
    this.facts = facts
  }

  /** The parts of a sequence. At the top what has no word of its own is a parameter. */
  sequence(nodes: ReadonlyArray<Argument>, top: boolean): ReadonlyArray<Part> {
    const parts: Array<Part> = []
    nodes.forEach((node, index) => {
      if (isCountOf(node, nodes[index + 1])) return
      const before = nodes[index - 1]
      const count = before !== undefined && isCountOf(before, node) ? this.countKind(before.name) : undefined
      parts.push(...this.node(node, top, count))
    })
    return parts
  }

  private countKind(name: string): "items" | "words" {
    return name === "nargs" || this.facts.group === "search" || this.facts.group === "suggestion" ? "words" : "items"
  }

  private node(node: Argument, top: boolean, count: Field["count"]): ReadonlyArray<Part> {
    if (isWord(node) && node.optional !== true) return [{ tag: "word", wire: wireOf(node) }]
    if (node.type === "block" && node.optional !== true && node.multiple !== true) return this.inlined(node, top)
    if (
      node.type === "oneof" &&
      node.optional === true &&
      node.token === undefined &&
      node.multiple !== true &&
      !isUnit(node)
    ) {
      return this.alternatives(node)
    }
    if (node.optional === true && ((top && this.isTail(node)) || this.isFlagged(node))) {
      return this.inlined({ ...node, optional: false }, top).map(loosened)
    }
    const field = this.field(node, count)
    const positional = top && (node.optional !== true || this.isPositional(node))
    return [{ tag: positional ? "param" : "field", field }]
  }

  /** `[<count> {WITHVALUES}]`: one value, and options that need it. */
  private isTail(node: Argument): boolean {
    const [first, ...rest] = node.arguments ?? []
    return (
      node.type === "block" &&
      node.token === undefined &&
      node.multiple !== true &&
      first !== undefined &&
      isScalar(first) &&
      first.token === undefined &&
      first.optional !== true &&
      rest.length > 0 &&
      rest.every((item) => isWord(item) && item.optional === true)
    )
  }

  /** `[COUNT <count> {ANY}]`: a value with a word before it, and options that need it. */
  private isFlagged(node: Argument): boolean {
    const [first, ...rest] = node.arguments ?? []
    return (
      node.type === "block" &&
      node.token === undefined &&
      node.multiple !== true &&
      first !== undefined &&
      first.token !== undefined &&
      (isScalar(first) || isWord(first)) &&
      rest.length > 0 &&
      rest.every((item) => isWord(item) && item.optional === true)
    )
  }

  /** Without a word before it, an optional value can only be told by its place. */
  private isPositional(node: Argument): boolean {
    if (node.token !== undefined || isWord(node)) return false
    if (isScalar(node) || isUnit(node)) return true
    if (node.type !== "block") return false
    const first = (node.arguments ?? []).find(({ optional }) => optional !== true)
    return first !== undefined && isScalar(first) && first.token === undefined
  }

  /** The parts of a block that has to be there. */
  private inlined(node: Argument, top: boolean): ReadonlyArray<Part> {
    const wire = wireOf(node)
    const inner = this.sequence(node.arguments ?? [], top)
    return wire.length === 0 ? inner : [{ tag: "word", wire }, ...inner]
  }

  /** Options of which at most one may be given. */
  private alternatives(node: Argument): ReadonlyArray<Part> {
    const cases = node.arguments ?? []
    const words = cases.every((item) => isWord(item) && item.token !== undefined && !isPlainWord(item.token))
    if (words) return [{ tag: "field", field: this.field(node, undefined) }]
    const group = ++this.groups
    return cases.map((item) => ({ tag: "field", field: { ...this.field(item, undefined), optional: true, group } }))
  }

  private field(node: Argument, count: Field["count"]): Field {
    const wire = node.multiple_token === true ? [] : wireOf(node)
    const made = this.shape(node)
    const name = this.nameOf(node, made.wire)
    return {
      name: node.multiple === true && node.token === undefined && made.wire.length === 0 ? severalOf(node, name) : name,
      own: node.name === "" ? "value" : argumentName(node.name),
      fallback: node.type === "path" && node.optional === true ? "$" : undefined,
      wire: [...wire, ...made.wire],
      shape: made.shape,
      optional: node.optional === true,
      count: count ?? made.count,
      empty: made.empty ?? (node.multiple === true && node.optional === true && node.token === undefined)
    }
  }

  private nameOf(node: Argument, inner: ReadonlyArray<string>): string {
    const word = node.token ?? inner[0]
    if (inner.length > 1 && node.name !== "") return argumentName(node.name)
    if (word !== undefined && (isPlainWord(word) || word === "*")) return camel(word)
    return node.name === "" ? "value" : argumentName(node.name)
  }

  /** A shape, the words that a block begins with, and the number that it begins with. */
  private shape(node: Argument): Made {
    const one = this.single(node.multiple === true ? { ...node, multiple: false, optional: false } : node)
    if (node.multiple !== true) return one
    const each = node.multiple_token === true ? wireOf(node) : []
    const item = one.shape
    if (one.wire.length === 0 && one.count === undefined && item.tag === "group" && this.isRelation(item.parts)) {
      const [key, value] = item.parts.flatMap((part) => (part.tag === "word" ? [] : [part.field.shape]))
      if (each.length === 0) return { shape: { tag: "relation", key, value }, wire: [] }
    }
    return { shape: { tag: "many", item, each: [...each, ...one.wire] }, wire: [] }
  }

  private isRelation(parts: ReadonlyArray<Part>): boolean {
    const [key, value] = parts
    if (parts.length !== 2 || key.tag === "word" || value.tag === "word" || key.field.optional || value.field.optional)
      return false
    if (key.field.wire.length > 0 || value.field.wire.length > 0) return false
    const first = key.field.shape
    return (
      first.tag === "scalar" && (first.type === "value" || first.type === "key") && value.field.shape.tag === "scalar"
    )
  }

  private single(node: Argument): Made {
    if (isWord(node)) return { shape: { tag: "flag" }, wire: [] }
    if (node.type === "oneof") return { shape: this.oneof(node), wire: [] }
    if (node.type === "block") return this.block(node)
    return {
      shape: node.type === "streams" ? { tag: "streams" } : { tag: "scalar", type: this.scalar(node) },
      wire: []
    }
  }

  private oneof(node: Argument): Shape {
    const cases = node.arguments ?? []
    if (isUnit(node)) return { tag: "scalar", type: "unit" }
    if (cases.every(isWord)) return { tag: "literal", words: cases.map(({ token }) => token ?? "") }
    const values = cases.filter((item) => isScalar(item) && item.token === undefined)
    // `* | <id>`: the value takes the word, too.
    if (values.length === 1 && cases.every((item) => isWord(item) || values.includes(item)))
      return { tag: "scalar", type: this.scalar(values[0]) }
    return { tag: "oneof", cases: cases.map((item) => ({ ...this.field(item, undefined), optional: false })) }
  }

  private block(node: Argument): Made {
    const all = this.sequence(node.arguments ?? [], false)
    const [first, ...rest] = all
    if (first === undefined) return { shape: { tag: "flag" }, wire: [] }
    if (first.tag === "word") return this.grouped(rest, first.wire, node.optional === true)
    // The words of the first value are those of the block.
    if (first.field.optional || first.field.wire.length === 0 || first.field.shape.tag === "flag")
      return this.grouped(all, [], node.optional === true)
    const named = { ...first.field, name: first.field.own, wire: [] }
    return this.grouped([{ ...first, field: named }, ...rest], first.field.wire, node.optional === true)
  }

  private grouped(parts: ReadonlyArray<Part>, wire: ReadonlyArray<string>, optional: boolean): Made {
    const [only] = parts
    if (parts.every(({ tag }) => tag === "word")) {
      return {
        shape: { tag: "flag" },
        wire: [...wire, ...parts.flatMap((part) => (part.tag === "word" ? part.wire : []))]
      }
    }
    if (parts.length === 1 && only.tag !== "word" && !(only.field.optional && wire.length > 0)) {
      return {
        shape: only.field.shape,
        wire: [...wire, ...only.field.wire],
        count: only.field.count,
        empty: only.field.empty
      }
    }
    // One list that may be empty: `STOPWORDS 0`.
    if (
      parts.length === 1 &&
      only.tag !== "word" &&
      only.field.wire.length === 0 &&
      (only.field.shape.tag === "many" || only.field.shape.tag === "relation")
    ) {
      return { shape: only.field.shape, wire, count: only.field.count, empty: true }
    }
    const plain =
      !optional &&
      parts.length <= 5 &&
      parts.every(
        (part) =>
          part.tag !== "word" &&
          !part.field.optional &&
          part.field.wire.length === 0 &&
          (part.field.shape.tag === "scalar" || part.field.shape.tag === "literal")
      )
    return { shape: { tag: "group", form: plain ? "tuple" : "object", parts }, wire }
  }

  private scalar(node: Argument): Scalar {
    const sorted = this.facts.group === "sorted-set" && /^(min|max|start|stop)$/.test(node.name)
    switch (node.type) {
      case "key":
      case "pattern":
        return "key"
      case "integer":
        return node.name === "weight" ? "double" : node.name === "cursor" ? "value" : "integer"
      case "unix-time":
        return "integer"
      case "double":
        return sorted ? "score" : "double"
      case "string":
        if (sorted) return this.facts.name === "ZRANGE" || this.facts.name === "ZRANGESTORE" ? "bound" : "lex"
        return node.name === "min-idle-time" ? "integer" : "value"
      case "score":
      case "lex":
      case "bound":
      case "sample":
      case "json":
      case "vector":
      case "path":
      case "unit":
      case "aggregators":
      case "value":
        return node.type
      default:
        throw new Error(`${this.facts.name}: no scalar ${node.type}`)
    }
  }
}

const data: Readonly<Record<string, string>> = {
  field: "fields",
  key: "entries",
  score: "members",
  longitude: "members"
}

/** The name of several: of blocks that are called `data` by what stands first in them. */
const severalOf = (node: Argument, name: string): string =>
  node.name === "data" ? (data[node.arguments?.[0]?.name ?? ""] ?? "entries") : plural(name)

/** As a part of something optional. */
const loosened = (part: Part): Part => {
  if (part.tag === "param" && part.field.wire.length > 0)
    return { tag: "field", field: { ...part.field, optional: true } }
  if (part.tag !== "word") return { ...part, field: { ...part.field, optional: true } }
  const name = camel(part.wire.join(" "))
  return { tag: "field", field: { name, own: name, wire: part.wire, shape: { tag: "flag" }, optional: true } }
}

const unique = (facts: Facts, fields: ReadonlyArray<Field>): void => {
  const names = fields.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new Error(`${facts.name}: the name ${twice} stands for two arguments`)
}

export const signatureOf = (facts: Facts, tree: ReadonlyArray<Argument>): Signature => {
  const parts = new Builder(facts).sequence(tree, true)
  const params = parts.flatMap((part) => (part.tag === "param" ? [part.field] : []))
  const options = parts.flatMap((part) => (part.tag === "field" ? [part.field] : []))
  unique(facts, [...params, ...options])
  return {
    parts,
    params: [...params.filter(({ optional }) => !optional), ...params.filter(({ optional }) => optional)],
    options
  }
}

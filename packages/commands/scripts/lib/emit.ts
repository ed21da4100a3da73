/**
 * Functions as source: the types of their arguments, and straight code that makes the words.
 */
import type { Field, Part, Scalar, Shape, Signature } from "./shapes.ts"

const scalarTypes: Readonly<Record<Scalar, string>> = {
  key: "RedisKey",
  value: "RedisValue",
  integer: "Int",
  double: "number",
  score: "Score",
  lex: "Lex",
  bound: "Score | Lex",
  sample: "Sample",
  json: "RedisValue",
  vector: "Vector",
  path: "RedisValue",
  unit: "Unit",
  aggregators: "OneOrMany<Aggregator>"
}

const isIdentifier = (name: string): boolean => /^[A-Za-z_$][\w$]*$/.test(name)

const member = (name: string): string => (isIdentifier(name) ? name : JSON.stringify(name))

const access = (of: string, name: string): string =>
  isIdentifier(name) ? `${of}.${name}` : `${of}[${JSON.stringify(name)}]`

// -----------------------------------------------------------------------------
// Types
// -----------------------------------------------------------------------------

/** The type of a value. `exact` flags are `true`, since something depends on knowing them. */
const typeOf = (shape: Shape, exact = false): string => {
  switch (shape.tag) {
    case "scalar":
      return scalarTypes[shape.type]
    case "literal":
      return shape.words.map((word) => JSON.stringify(word)).join(" | ")
    case "flag":
      return exact ? "true" : "boolean"
    case "group":
      return shape.form === "tuple" ? tupleType(shape.parts) : objectType(fieldsOf(shape.parts))
    case "oneof":
      return `ExactlyOne<{ ${shape.cases.map(({ name, shape }) => `${member(name)}: ${typeOf(shape, true)}`).join("; ")} }>`
    case "many":
      return `OneOrMany<${typeOf(shape.item)}>`
    case "relation":
      return `Relation<${typeOf(shape.key)}, ${typeOf(shape.value)}>`
    case "streams":
      return "Streams"
  }
}

const fieldsOf = (parts: ReadonlyArray<Part>): ReadonlyArray<Field> =>
  parts.flatMap((part) => (part.tag === "word" ? [] : [part.field]))

const tupleType = (parts: ReadonlyArray<Part>): string =>
  `readonly [${fieldsOf(parts)
    .map(({ name, shape }) => `${name}: ${typeOf(shape)}`)
    .join(", ")}]`

/** The groups of options that exclude each other, and the others. */
const grouped = (fields: ReadonlyArray<Field>): ReadonlyArray<ReadonlyArray<Field>> => {
  const groups = new Map<number | Field, Array<Field>>()
  for (const field of fields) {
    const key = field.group ?? field
    groups.set(key, [...(groups.get(key) ?? []), field])
  }
  return [...groups.values()]
}

/** How a member of an options object is written: as it is, known to be there, or known to be absent. */
export type Fixed = Readonly<Record<string, "given" | "absent">>

export const objectType = (fields: ReadonlyArray<Field>, fixed: Fixed = {}): string => {
  const plain: Array<string> = []
  const groups: Array<string> = []
  for (const group of grouped(fields)) {
    if (group.length > 1) {
      for (const { name, shape } of group) {
        if (fixed[name] === "absent") plain.push(`readonly ${member(name)}?: undefined`)
        if (fixed[name] === "given") plain.push(`readonly ${member(name)}: ${typeOf(shape, true)}`)
      }
      groups.push(`OneOf<{ ${group.map(({ name, shape }) => `${member(name)}: ${typeOf(shape, true)}`).join("; ")} }>`)
      continue
    }
    const [{ name, shape, optional }] = group
    const how = fixed[name]
    if (how === "absent") plain.push(`readonly ${member(name)}?: undefined`)
    else if (how === "given") plain.push(`readonly ${member(name)}: ${typeOf(shape, true)}`)
    else plain.push(`readonly ${member(name)}${optional ? "?" : ""}: ${typeOf(shape)}${optional ? " | undefined" : ""}`)
  }
  return [...(plain.length === 0 ? [] : [`{ ${plain.join("; ")} }`]), ...groups].join(" & ")
}

export const paramType = ({ shape }: Field): string => typeOf(shape, true)

// -----------------------------------------------------------------------------
// Code
// -----------------------------------------------------------------------------

const quoted = (words: ReadonlyArray<string>): string => words.map((word) => JSON.stringify(word)).join(", ")

/** One word of an expression; undefined for what is not one word. */
const single = (shape: Shape, expression: string, name: string): string | undefined => {
  if (shape.tag === "literal") return expression
  if (shape.tag !== "scalar" || shape.type === "vector") return undefined
  if (shape.type === "integer") return `int(${expression}, ${JSON.stringify(name)})`
  return shape.type === "aggregators" ? `maybeSeveral(${expression}).join(",")` : expression
}

let loops = 0

/** Statements that append a field whose value is there. */
const append = (field: Field, expression: string): ReadonlyArray<string> => {
  const { shape, wire } = field
  const name = JSON.stringify(field.name)
  if (shape.tag === "flag") return [`args.push(${quoted(wire)})`]
  const word = single(shape, expression, field.name)
  if (word !== undefined) return [`args.push(${[...(wire.length === 0 ? [] : [quoted(wire)]), word].join(", ")})`]
  const before = wire.length === 0 ? [] : [`args.push(${quoted(wire)})`]
  switch (shape.tag) {
    case "scalar":
      return [...before, `pushVector(args, ${expression})`]
    case "group":
      return [...before, ...groupCode(shape, expression)]
    case "oneof":
      return [...before, ...oneofCode(shape.cases, expression, field.name)]
    case "many":
      return [...before, ...manyCode(field, shape, expression)]
    case "relation":
      return [...before, ...relationCode(field, shape, expression)]
    case "streams":
      return [...before, `pushStreams(args, ${expression}, ${name})`]
    default:
      throw new Error(`No code for ${field.name}`)
  }
}

const isText = (shape: Shape): boolean =>
  shape.tag === "literal" || (shape.tag === "scalar" && !["integer", "vector", "aggregators"].includes(shape.type))

const manyCode = (field: Field, shape: Shape & { readonly tag: "many" }, expression: string): ReadonlyArray<string> => {
  const name = JSON.stringify(field.name)
  const { item, each } = shape
  const list = field.empty === true ? `maybeSeveral(${expression})` : `several(${expression}, ${name})`
  if (isText(item) && each.length === 0) {
    if (field.count !== undefined) return [`pushCounted(args, ${list})`]
    return [field.empty === true ? `args.push(...maybeSeveral(${expression}))` : `push(args, ${expression}, ${name})`]
  }
  const variable = `item${++loops}`
  const isTuple = item.tag === "group" && item.form === "tuple"
  const source = isTuple && field.empty !== true ? `tuples(${expression}, ${name})` : list
  const body = append(
    { ...field, name: field.name, wire: each, shape: item, count: undefined, empty: undefined },
    variable
  )
  return counted(field, source, variable, body)
}

const relationCode = (
  field: Field,
  shape: Shape & { readonly tag: "relation" },
  expression: string
): ReadonlyArray<string> => {
  const value = single(shape.value, "value", field.name) ?? "value"
  const relation =
    field.empty === true ? `entries(${expression})` : `someEntries(${expression}, ${JSON.stringify(field.name)})`
  return counted(field, relation, "[name, value]", [`args.push(name, ${value})`])
}

/** A loop, with the number before it that the field asks for. */
const counted = (
  field: Field,
  source: string,
  variable: string,
  body: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const loop = (over: string) => [`for (const ${variable} of ${over}) {`, ...body, "}"]
  if (field.count === undefined) return loop(source)
  if (field.count === "items") {
    const all = `all${++loops}`
    return [`const ${all} = ${source}`, `args.push(${all}.length)`, ...loop(all)]
  }
  const place = `place${++loops}`
  return [`const ${place} = args.push(0) - 1`, ...loop(source), `countWords(args, ${place})`]
}

const groupCode = (shape: Shape & { readonly tag: "group" }, expression: string): ReadonlyArray<string> => {
  const fields = fieldsOf(shape.parts)
  if (shape.form === "tuple") {
    return fields.flatMap((field, index) => append({ ...field, wire: [] }, `${expression}[${index}]`))
  }
  if (shape.parts.every(({ tag }) => tag !== "word")) return membersCode(fields, expression)
  return shape.parts.flatMap((part) =>
    part.tag === "word"
      ? [`args.push(${quoted(part.wire)})`]
      : optional(part.field, access(expression, part.field.name))
  )
}

const oneofCode = (cases: ReadonlyArray<Field>, expression: string, name: string): ReadonlyArray<string> => {
  const names = JSON.stringify(cases.map((item) => item.name).join(", "))
  const count = cases.map((item) => `given(${access(expression, item.name)})`).join(" + ")
  return [
    `if (${count} !== 1) missing(${JSON.stringify(name)}, ${names})`,
    ...cases.flatMap((item) => [
      `if (${access(expression, item.name)} !== undefined) {`,
      ...append(item, access(expression, item.name)),
      "}"
    ])
  ]
}

/** Members of an object, one after the other; of those that exclude each other at most one is given. */
const membersCode = (fields: ReadonlyArray<Field>, of: string): ReadonlyArray<string> => {
  const groups = new Map<number, ReadonlyArray<Field>>()
  for (const { group } of fields) {
    const members = fields.filter((other) => other.group === group)
    if (group !== undefined && members.length > 1) groups.set(group, members)
  }
  const names = new Map([...groups.keys()].map((group) => [group, `given${++loops}`]))
  return [
    ...[...names.values()].map((name) => `let ${name} = 0`),
    ...fields.flatMap((field) => {
      const code = optional(field, access(of, field.name))
      const name = field.group === undefined ? undefined : names.get(field.group)
      const [head, ...rest] = code
      return name === undefined ? code : [head, `${name}++`, ...rest]
    }),
    ...[...names].map(([group, name]) => {
      const members = (groups.get(group) ?? []).map((field) => field.name).join(", ")
      return `if (${name} > 1) exclusive(${JSON.stringify(members)})`
    })
  ]
}

/** Statements for a value that may not be there. */
const optional = (field: Field, expression: string): ReadonlyArray<string> => {
  if (!field.optional) return append(field, expression)
  // A number of none at all is still a number.
  if (field.empty === true && field.count !== undefined && field.wire.length === 0) return append(field, expression)
  if (
    field.empty === true &&
    field.shape.tag === "many" &&
    isText(field.shape.item) &&
    field.wire.length === 0 &&
    field.fallback === undefined
  ) {
    return append(field, expression)
  }
  if (field.fallback !== undefined) return append(field, `(${expression} ?? ${JSON.stringify(field.fallback)})`)
  const test = field.shape.tag === "flag" ? `${expression} === true` : `${expression} !== undefined`
  return [`if (${test}) {`, ...append(field, expression), "}"]
}

/** The parts that can stand in the array that the words begin with. */
const initial = (
  parts: ReadonlyArray<Part>
): { readonly words: ReadonlyArray<string>; readonly rest: ReadonlyArray<Part> } => {
  const words: Array<string> = []
  for (const [index, part] of parts.entries()) {
    if (part.tag === "word") {
      words.push(quoted(part.wire))
      continue
    }
    const word =
      part.tag === "param" && !part.field.optional
        ? single(part.field.shape, local(part.field.name), part.field.name)
        : undefined
    if (word === undefined) return { words, rest: parts.slice(index) }
    if (part.field.wire.length > 0) words.push(quoted(part.field.wire))
    words.push(word)
  }
  return { words, rest: [] }
}

/** A parameter's name in the code: one that is no legal name gets a dash below. */
export const local = (name: string): string =>
  /^(function|default|delete|new|in|return|make|int|args|push|given|options|entries|several|tuples|missing|exclusive|reply)$/.test(
    name
  )
    ? `${name}_`
    : name

/** The body of a function: an expression for the words and the reader, or statements. */
export const bodyOf = (name: string, signature: Signature, reader: string, types = ""): ReadonlyArray<string> => {
  loops = 0
  const { words, rest } = initial(signature.parts)
  const first = [quoted(name.split(" ")), ...words].join(", ")
  if (rest.length === 0) return [`return make${types}([${first}], ${reader})`]
  const code: Array<string> = [`const args: Array<Resp.Argument> = [${first}]`]
  for (let index = 0; index < rest.length; index++) {
    const part = rest[index]
    if (part.tag === "word") code.push(`args.push(${quoted(part.wire)})`)
    else if (part.tag === "param") code.push(...optional(part.field, local(part.field.name)))
    else {
      // Options that follow each other share one look at their object.
      const run: Array<Field> = []
      for (let next = rest[index]; next?.tag === "field"; next = rest[++index]) run.push(next.field)
      index--
      code.push("if (options !== undefined) {", ...membersCode(run, "options"), "}")
    }
  }
  return [...code, `return make${types}(args, ${reader})`]
}

/**
 * How a reply is read, as source: an expression of `src/internal/reads.ts`, and the types of its value.
 */
import type { Schema } from "./facts.ts"

export interface Plan {
  /** An expression. */
  readonly code: string
  /** The type of the value. */
  readonly text: string
  /** The type of the value in bytes mode. */
  readonly bytes: string
  /** A text reply is its value. */
  readonly asIs?: boolean | undefined
}

const list_ = (type: string): string => `ReadonlyArray<${type}>`

export const text: Plan = { code: "text", text: "string", bytes: "Uint8Array", asIs: true }
export const word: Plan = { code: "word", text: "string", bytes: "string", asIs: true }
export const integer: Plan = { code: "integer", text: "number", bytes: "number" }
export const bigInteger: Plan = { code: "bigInteger", text: "number | bigint", bytes: "number | bigint" }
export const double: Plan = { code: "double", text: "number", bytes: "number" }
export const boolean: Plan = { code: "boolean", text: "boolean", bytes: "boolean" }
export const plain: Plan = { code: "plain", text: "Resp.Reply", bytes: "Resp.Reply", asIs: true }
export const scored: Plan = { code: "scored", text: list_("Scored"), bytes: list_("ScoredBytes") }
export const popped: Plan = { code: "popped", text: "Scored | null", bytes: "ScoredBytes | null" }
export const position: Plan = { code: "position", text: "Position", bytes: "Position" }
export const entry: Plan = { code: "entry", text: "Entry", bytes: "EntryBytes" }
export const pairsEntry: Plan = { code: "pairsEntry", text: "PairsEntry", bytes: "EntryBytes" }

const maybeBytes = "readonly [id: Uint8Array, fields: EntryBytes[1] | null]"
export const maybeEntry: Plan = {
  code: "maybeEntry",
  text: "readonly [id: string, fields: Entry[1] | null]",
  bytes: maybeBytes
}
export const maybePairsEntry: Plan = {
  code: "maybePairsEntry",
  text: "readonly [id: string, fields: PairsEntry[1] | null]",
  bytes: maybeBytes
}

export const literal = (...values: ReadonlyArray<string | number>): Plan => {
  const all = values.map((value) => JSON.stringify(value))
  return {
    code: `literal(${all.join(", ")})`,
    text: all.join(" | "),
    bytes: all.join(" | "),
    asIs: values.every((value) => typeof value === "string")
  }
}
export const ok: Plan = literal("OK")

const wrap =
  (code: string, toText: (type: string) => string, toBytes: (type: string) => string, keepsAsIs: boolean) =>
  (inner: Plan): Plan => ({
    code: `${code}(${inner.code})`,
    text: toText(inner.text),
    bytes: toBytes(inner.bytes),
    asIs: keepsAsIs && inner.asIs === true
  })

export const nullable = wrap(
  "nullable",
  (type) => `${type} | null`,
  (type) => `${type} | null`,
  true
)
export const list = wrap("list", list_, list_, true)
export const set = wrap("set", (type) => `ReadonlySet<${type}>`, list_, false)
export const record = wrap(
  "record",
  (type) => `Rec<${type}>`,
  (type) => (type === "Uint8Array" ? "PairsBytes" : `PairsBytes<${type}>`),
  false
)
export const orError = wrap(
  "orError",
  (type) => `${type} | Resp.ReplyError`,
  (type) => `${type} | Resp.ReplyError`,
  true
)
export const head = wrap(
  "head",
  (type) => `${type} | null`,
  (type) => `${type} | null`,
  false
)

export const either = (first: Plan, second: Plan): Plan => ({
  code: `either(${first.code}, ${second.code})`,
  text: [...new Set([first.text, second.text])].join(" | "),
  bytes: [...new Set([first.bytes, second.bytes])].join(" | "),
  asIs: first.asIs === true && second.asIs === true
})

const tuple =
  (code: string) =>
  (...items: ReadonlyArray<Plan>): Plan => ({
    code: `${code}(${items.map((item) => item.code).join(", ")})`,
    text: `readonly [${items.map((item) => item.text).join(", ")}]`,
    bytes: `readonly [${items.map((item) => item.bytes).join(", ")}]`
  })
export const pair = tuple("pair")
export const triple = tuple("triple")
export const quadruple = tuple("quadruple")

/** Of pairs, flat or nested. */
export const pairs = (first: Plan, second: Plan): Plan => ({
  code: `pairs(${first.code}, ${second.code})`,
  text: list_(`readonly [${first.text}, ${second.text}]`),
  bytes: list_(`readonly [${first.bytes}, ${second.bytes}]`)
})

/** Names ending in `?` are not there on every server. */
export const struct = (fields: Readonly<Record<string, Plan>>): Plan => {
  const entries = Object.entries(fields).map(([name, plan]) => ({
    name: name.replace(/\?$/, ""),
    mark: name.endsWith("?") ? "?" : "",
    plan
  }))
  const type = (mode: "text" | "bytes") =>
    `{ ${entries.map(({ name, mark, plan }) => `readonly ${JSON.stringify(name)}${mark}: ${plan[mode]}`).join("; ")}; readonly [name: string]: unknown }`
  return {
    code: `struct({ ${entries.map(({ name, plan }) => `${JSON.stringify(name)}: ${plan.code}`).join(", ")} })`,
    text: type("text"),
    bytes: type("bytes")
  }
}

export const named = (code: string, types: string, bytes = types): Plan => ({ code, text: types, bytes })

// -----------------------------------------------------------------------------
// From a server's schema
// -----------------------------------------------------------------------------

const isList = (items: Schema["items"]): items is ReadonlyArray<Schema> => Array.isArray(items)

/** The plan of a reply's schema; a text that says why there is none. */
export const planOf = (schema: Schema, bigIntegers = false): Plan | string => {
  const plan = planOfSchema(schema)
  if (typeof plan === "string" || !bigIntegers) return plan
  return {
    ...plan,
    code: plan.code.replaceAll(/\binteger\b/g, "bigInteger"),
    text: plan.text.replaceAll(/\bnumber\b/g, "number | bigint"),
    bytes: plan.bytes.replaceAll(/\bnumber\b/g, "number | bigint")
  }
}

const planOfSchema = (schema: Schema): Plan | string => {
  if (schema.const !== undefined) return literal(schema.const)
  if (schema.enum !== undefined) return text
  const cases = schema.oneOf ?? schema.anyOf
  if (cases !== undefined) return planOfCases(cases)
  switch (schema.type) {
    case "string":
      return text
    case "integer":
      return integer
    case "number":
      return double
    case "boolean":
      return boolean
    case "array":
      return planOfArray(schema)
    case "object":
      return planOfObject(schema)
    default:
      return "it may be anything"
  }
}

const planOfCases = (cases: ReadonlyArray<Schema>): Plan | string => {
  const others = cases.filter(({ type }) => type !== "null")
  if (others.length < cases.length) {
    const inner = planOfCases(others)
    return typeof inner === "string" ? inner : nullable(inner)
  }
  if (cases.length === 1) return planOfSchema(cases[0])
  const constants = cases.flatMap((item) => (item.const === undefined ? [] : [item.const]))
  // Words may become more with newer servers; numbers are what they are.
  if (constants.length === cases.length)
    return constants.every((value) => typeof value === "string") ? text : literal(...constants)
  const rest = cases.filter((item) => item.const === undefined)
  if (
    rest.length === 1 &&
    constants.every(
      (value) => typeof value === rest[0].type || (typeof value === "number" && rest[0].type === "integer")
    )
  ) {
    return planOfSchema(rest[0])
  }
  return "it has several shapes"
}

const planOfArray = ({ items, additionalItems }: Schema): Plan | string => {
  if (items === undefined) return "its items are not known"
  if (!isList(items)) {
    const inner = planOfSchema(items)
    return typeof inner === "string" ? inner : list(inner)
  }
  const plans = items.map(planOfSchema)
  const problem = plans.find((plan) => typeof plan === "string")
  if (problem !== undefined) return problem
  if (additionalItems !== undefined && additionalItems !== false) return "it has more items"
  const all = plans.filter((plan) => typeof plan !== "string")
  const make = [undefined, undefined, pair, triple, quadruple][all.length]
  return make === undefined ? `it has ${all.length} items` : make(...all)
}

const planOfObject = ({ properties = {}, additionalProperties, patternProperties }: Schema): Plan | string => {
  const names = Object.entries(properties)
  const values = [
    ...(typeof additionalProperties === "object" ? [additionalProperties] : []),
    ...Object.values(patternProperties ?? {})
  ]
  if (names.length === 0) {
    if (values.length !== 1) return "its fields are not known"
    const inner = planOfSchema(values[0])
    return typeof inner === "string" ? inner : record(inner)
  }
  if (values.length > 0) return "it has fixed and free fields"
  const plans = names.map(([name, schema]) => [name, planOfSchema(schema)] as const)
  const problem = plans.find(([, plan]) => typeof plan === "string")
  if (problem !== undefined) return `${problem[0]}: ${String(problem[1])}`
  return struct(Object.fromEntries(plans.flatMap(([name, plan]) => (typeof plan === "string" ? [] : [[name, plan]]))))
}

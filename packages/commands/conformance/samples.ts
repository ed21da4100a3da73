/**
 * Arguments for every function: the least that it takes, and for each shape of its reply what leads to it.
 */
import type * as Command from "@relive/core/Command"
import { Bloom, Commands, Json, Search, TimeSeries, VectorSet } from "../src/index.ts"
import { allFunctions, type Function } from "../scripts/lib/functions.ts"
import type { Field, Part, Shape } from "../scripts/lib/shapes.ts"

const scalars: Readonly<Record<(Shape & { readonly tag: "scalar" })["type"], unknown>> = {
  key: "key",
  value: "value",
  integer: 7,
  double: 1.5,
  score: "-inf",
  lex: "[a",
  bound: "(1",
  sample: 2.5,
  json: "{}",
  vector: [1, 2.5],
  path: "$",
  unit: "km",
  aggregators: "avg"
}

const partValues = (parts: ReadonlyArray<Part>): ReadonlyArray<readonly [string, unknown]> =>
  parts.flatMap((part) =>
    part.tag === "word" || part.field.optional ? [] : [[part.field.name, sample(part.field.shape)]]
  )

/** A value of a shape. */
export const sample = (shape: Shape): unknown => {
  switch (shape.tag) {
    case "scalar":
      return scalars[shape.type]
    case "literal":
      return shape.words[0]
    case "flag":
      return true
    case "group": {
      const values = partValues(shape.parts)
      return shape.form === "tuple" ? values.map(([, value]) => value) : Object.fromEntries(values)
    }
    case "oneof":
      return { [shape.cases[0].name]: sample(shape.cases[0].shape) }
    case "many":
      return [sample(shape.item)]
    case "relation":
      return [[sample(shape.key), sample(shape.value)]]
    case "streams":
      return { stream: "0-0" }
  }
}

const valueOf = (field: Field): unknown => sample(field.shape)

/** A call of a function. */
export interface Call {
  readonly one: Function
  readonly args: ReadonlyArray<unknown>
  readonly command: Command.Command<unknown, unknown>
}

type Maker = (...args: ReadonlyArray<unknown>) => Command.Command<unknown, unknown>

const isMaker = (value: unknown): value is Maker => typeof value === "function"

const namespaces: Readonly<Record<Function["family"]["namespace"], object>> = {
  Bloom,
  Commands,
  Json,
  Search,
  TimeSeries,
  VectorSet
}

/** The function itself. */
export const makerOf = ({ family, name }: Function): Maker => {
  const found: unknown = Object.entries(namespaces[family.namespace]).find(([key]) => key === name)?.[1]
  if (!isMaker(found)) throw new Error(`There is no ${family.namespace}.${name}`)
  return found
}

/** The arguments with these options and optional parameters. */
export const argumentsWith = ({ signature }: Function, wanted: ReadonlyArray<string>): ReadonlyArray<unknown> => {
  const params = signature.params.map((field) =>
    !field.optional || wanted.includes(field.name) ? valueOf(field) : undefined
  )
  const options = signature.options.filter(({ name }) => wanted.includes(name))
  if (options.length > 0) return [...params, Object.fromEntries(options.map((field) => [field.name, valueOf(field)]))]
  return params.slice(0, params.findLastIndex((value) => value !== undefined) + 1)
}

const callOf = (one: Function, wanted: ReadonlyArray<string>): Call => {
  const args = argumentsWith(one, wanted)
  return { one, args, command: makerOf(one)(...args) }
}

/** A call for each shape of each function's reply. */
export const allCalls = (): ReadonlyArray<Call> =>
  allFunctions().flatMap((one) => one.cases.map((item) => callOf(one, item.with ?? [])))

/** A call for each single option and optional parameter of each function. */
export const optionCalls = (): ReadonlyArray<Call> =>
  allFunctions().flatMap((one) =>
    [...one.signature.params.filter(({ optional }) => optional), ...one.signature.options]
      .filter(({ reading }) => reading !== true)
      .map((field) => callOf(one, [field.name]))
  )

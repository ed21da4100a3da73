/**
 * Replies on their way to a schema: what the server means by a map or a set becomes what the schema has for it.
 *
 * A schema takes a `Map` for an object without properties. So a Record or a Struct with optional fields would *succeed* with
 * nothing of it. Here a map becomes an object where the schema has one, and a `Map` where it has that; over RESP2 the flat array of
 * a command that returns a map does, too. What cannot be is told, with the schemas that can.
 *
 * @internal
 */
import type * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { fromReply } from "../../PlainReply.ts"
import type * as Resp from "../../Resp.ts"
import { shapeOf } from "../commands/shapes.ts"

type AST = SchemaAST.AST

/** Says which schemas take what came. */
export class Misfit {
  readonly message: string

  constructor(message: string) {
    this.message = message
  }
}

const isMap = (value: unknown): value is ReadonlyMap<unknown, unknown> => value instanceof Map
const isSet = (value: unknown): value is ReadonlySet<unknown> => value instanceof Set
const isArray = (value: unknown): value is ReadonlyArray<unknown> => Array.isArray(value)

const isText = (value: unknown): value is string => typeof value === "string"

const aMap = new Misfit(
  "It is a map: use Schema.Record(Schema.String, …), Schema.Struct({ … }) or Schema.ReadonlyMap(Schema.String, …)"
)
const notTexts = new Misfit("It is a map whose keys are not all texts: use Schema.ReadonlyMap(…)")
const aSet = new Misfit("It is a set: use Schema.Array(…) or Schema.ReadonlySet(…)")
const anArray = new Misfit("It is an array, and no map: use Schema.Array(…) or Schema.Tuple([…])")

/** The declarations of `Schema.ReadonlyMap` and `Schema.ReadonlySet`, by the name that Effect gives them. */
const declares = (ast: AST, name: "ReadonlyMap" | "ReadonlySet"): ast is SchemaAST.Declaration => {
  if (!SchemaAST.isDeclaration(ast)) return false
  const representation: unknown = ast.annotations?.["representation"]
  return (
    typeof representation === "object" &&
    representation !== null &&
    "id" in representation &&
    representation.id === `effect/schema/${name}`
  )
}

const takesAnything = (ast: AST): boolean => SchemaAST.isUnknown(ast) || SchemaAST.isAny(ast)

/** The schema's property of this name, if it has one. */
const propertyOf = (ast: SchemaAST.Objects, key: string): AST | undefined =>
  ast.propertySignatures.find(({ name }) => name === key)?.type ?? ast.indexSignatures[0]?.type

const objectOf = (ast: SchemaAST.Objects | undefined, entries: Iterable<readonly [unknown, unknown]>): unknown => {
  const object: Array<[string, unknown]> = []
  for (const [key, value] of entries) {
    if (!isText(key)) return notTexts
    const property = ast === undefined ? undefined : propertyOf(ast, key)
    const fitted = property === undefined ? value : fit(property, value)
    if (fitted instanceof Misfit) return fitted
    object.push([key, fitted])
  }
  return Object.fromEntries(object)
}

const mapOf = (ast: SchemaAST.Declaration, entries: Iterable<readonly [unknown, unknown]>): unknown => {
  const [keys, values] = ast.typeParameters
  const map = new Map<unknown, unknown>()
  for (const [key, value] of entries) {
    const fitted = values === undefined ? value : fit(values, value)
    if (fitted instanceof Misfit) return fitted
    map.set(keys === undefined ? key : fit(keys, key), fitted)
  }
  return map
}

const arrayOf = (elements: (index: number) => AST | undefined, values: Iterable<unknown>): unknown => {
  const array: Array<unknown> = []
  for (const value of values) {
    const element = elements(array.length)
    const fitted = element === undefined ? value : fit(element, value)
    if (fitted instanceof Misfit) return fitted
    array.push(fitted)
  }
  return array
}

/** The first alternative that takes what came, or what the last of them says. */
const alternativeOf = (types: ReadonlyArray<AST>, value: unknown): unknown => {
  let misfit: unknown = value
  for (const type of types) {
    const fitted = fit(type, value)
    if (!(fitted instanceof Misfit)) return fitted
    misfit = fitted
  }
  return misfit
}

const elementOf = (ast: SchemaAST.Arrays) => (index: number) => ast.elements[index] ?? ast.rest[0]

const fitMap = (ast: AST, value: ReadonlyMap<unknown, unknown>): unknown => {
  if (SchemaAST.isObjects(ast)) return objectOf(ast, value)
  if (declares(ast, "ReadonlyMap")) return mapOf(ast, value)
  if (!takesAnything(ast)) return aMap
  const object = objectOf(undefined, value)
  return object instanceof Misfit ? value : object
}

const fitSet = (ast: AST, value: ReadonlySet<unknown>): unknown => {
  if (SchemaAST.isArrays(ast)) return arrayOf(elementOf(ast), value)
  if (declares(ast, "ReadonlySet")) return new Set(value)
  return takesAnything(ast) ? [...value] : aSet
}

const fitArray = (ast: AST, value: ReadonlyArray<unknown>): unknown => {
  if (SchemaAST.isArrays(ast)) return arrayOf(elementOf(ast), value)
  if (declares(ast, "ReadonlySet")) return new Set(value)
  return SchemaAST.isObjects(ast) || declares(ast, "ReadonlyMap") ? anArray : value
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype

const fit = (ast: AST, value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  if (SchemaAST.isSuspend(ast)) return fit(ast.thunk(), value)
  if (SchemaAST.isUnion(ast)) return alternativeOf(ast.types, value)
  if (isMap(value)) return fitMap(ast, value)
  if (isSet(value)) return fitSet(ast, value)
  if (isArray(value)) return fitArray(ast, value)
  if (isRecord(value) && declares(ast, "ReadonlyMap")) return mapOf(ast, Object.entries(value))
  return value
}

/** Whether the schema has an object or a `Map` for the reply as a whole. */
const wantsMap = (ast: AST): boolean => {
  if (SchemaAST.isSuspend(ast)) return wantsMap(ast.thunk())
  if (SchemaAST.isUnion(ast)) return ast.types.some(wantsMap) && !ast.types.some(SchemaAST.isArrays)
  if (SchemaAST.isArrays(ast)) return [...ast.elements, ...ast.rest].some(wantsMap)
  return SchemaAST.isObjects(ast) || declares(ast, "ReadonlyMap")
}

/**
 * The reply as the schema will have it, or why it cannot. Over RESP2 a map is a flat array, and only its command says so: given for
 * a reply as the server sent it.
 */
export const fitReply = (schema: Schema.Constraint, command: Resp.Command | undefined, value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  const ast = SchemaAST.toEncoded(schema.ast)
  const isMaps = command !== undefined && isFlat(value) && shapeOf(command) !== undefined && wantsMap(ast)
  return fit(ast, isMaps ? fromReply(command, value) : value)
}

const isFlat = (value: object): value is Resp.ReplyArray => Array.isArray(value)

/**
 * Words of the wire back to the arguments of a function: the grammar of a signature, read with backtracking. Options may
 * stand in any order, as the server takes them.
 */
import type { Field, Part, Shape, Signature } from "../scripts/lib/shapes.ts"

/** A word: a character is a byte. */
type Words = ReadonlyArray<string>

type Values = Readonly<Record<string, unknown>>

interface At<A> {
  readonly value: A
  readonly next: number
}

const isInteger = (word: string): boolean => /^-?\d+$/.test(word)

const toInteger = (word: string): number | bigint => {
  const number = Number(word)
  return Number.isSafeInteger(number) ? number : BigInt(word)
}

const infinities: Readonly<Record<string, number>> = { inf: Infinity, "+inf": Infinity, "-inf": -Infinity }

/** A number as it is written; undefined for what is none. */
export const toNumber = (word: string): number | undefined => {
  const infinity = infinities[word.toLowerCase()]
  if (infinity !== undefined) return infinity
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(word) ? Number(word) : undefined
}

/** Text where it is ASCII, else bytes. */
const toText = (word: string): string | Uint8Array =>
  /^[\0-\x7f]*$/.test(word) ? word : Uint8Array.from(word, (character) => character.charCodeAt(0))

const same = (left: string | undefined, right: string): boolean => left?.toUpperCase() === right.toUpperCase()

const matchesWords = (words: Words, at: number, wire: ReadonlyArray<string>): boolean =>
  wire.every((word, index) => same(words[at + index], word))

const scalar = (type: (Shape & { readonly tag: "scalar" })["type"], word: string): unknown => {
  switch (type) {
    case "integer":
      return isInteger(word) ? toInteger(word) : undefined
    case "double":
      return toNumber(word)
    case "sample":
      return toNumber(word) ?? (same(word, "nan") ? "NaN" : undefined)
    case "score":
    case "bound":
      return /^[-+]?inf$/i.test(word) ? word : (toNumber(word) ?? toText(word))
    case "unit":
      return ["m", "km", "ft", "mi"].find((unit) => same(word, unit))
    case "aggregators":
      return word.split(",")
    default:
      return toText(word)
  }
}

function* vector(words: Words, at: number): Generator<At<unknown>> {
  if (same(words[at], "FP32") && words[at + 1] !== undefined) {
    yield { value: Uint8Array.from(words[at + 1], (character) => character.charCodeAt(0)), next: at + 2 }
  }
  if (!same(words[at], "VALUES") || !isInteger(words[at + 1] ?? "")) return
  const end = at + 2 + Number(words[at + 1])
  const numbers = words.slice(at + 2, end).map(toNumber)
  if (end <= words.length && !numbers.includes(undefined)) yield { value: numbers, next: end }
}

/**
 * Items of something, from `least` to `most`, the fewest first: a word that may be an option is one, as for the server.
 */
function* repeated(
  item: (at: number) => Generator<At<unknown>>,
  at: number,
  least: number,
  most: number
): Generator<At<ReadonlyArray<unknown>>> {
  if (least <= 0) yield { value: [], next: at }
  if (most <= 0) return
  for (const first of item(at)) {
    if (first.next === at) continue
    for (const rest of repeated(item, first.next, least - 1, most - 1)) {
      yield { value: [first.value, ...rest.value], next: rest.next }
    }
  }
}

const itemOf = (shape: Shape, words: Words): ((at: number) => Generator<At<unknown>>) =>
  function* (at) {
    if (shape.tag === "many") {
      if (matchesWords(words, at, shape.each)) yield* shapeAt(shape.item, words, at + shape.each.length)
    } else if (shape.tag === "relation") {
      for (const key of shapeAt(shape.key, words, at)) {
        for (const value of shapeAt(shape.value, words, key.next)) {
          yield { value: [key.value, value.value], next: value.next }
        }
      }
    }
  }

function* shapeAt(shape: Shape, words: Words, at: number): Generator<At<unknown>> {
  switch (shape.tag) {
    case "scalar": {
      if (shape.type === "vector") return yield* vector(words, at)
      const word = words[at]
      const value = word === undefined ? undefined : scalar(shape.type, word)
      if (value !== undefined) yield { value, next: at + 1 }
      return
    }
    case "literal": {
      const literal = shape.words.find((word) => same(words[at], word))
      if (literal !== undefined) yield { value: literal, next: at + 1 }
      return
    }
    case "flag":
      return yield { value: true, next: at }
    case "group":
      for (const found of partsAt(shape.parts, 0, words, at, {})) {
        const names = shape.parts.flatMap((part) => (part.tag === "word" ? [] : [part.field.name]))
        yield {
          value: shape.form === "tuple" ? names.map((name) => found.value[name]) : found.value,
          next: found.next
        }
      }
      return
    case "oneof":
      for (const one of shape.cases) {
        for (const found of fieldAt(one, words, at)) yield { value: { [one.name]: found.value }, next: found.next }
      }
      return
    case "many":
    case "relation":
      return yield* repeated(itemOf(shape, words), at, 1, Infinity)
    case "streams":
      for (let count = Math.floor((words.length - at) / 2); count > 0; count--) {
        const value = Array.from({ length: count }, (_, index) => [
          toText(words[at + index]),
          toText(words[at + count + index])
        ])
        yield { value, next: at + 2 * count }
      }
  }
}

function* fieldAt(field: Field, words: Words, at: number): Generator<At<unknown>> {
  if (!matchesWords(words, at, field.wire)) return
  const start = at + field.wire.length
  const { shape } = field
  if (shape.tag !== "many" && shape.tag !== "relation") return yield* shapeAt(shape, words, start)
  const item = itemOf(shape, words)
  if (field.count === undefined) return yield* repeated(item, start, field.empty === true ? 0 : 1, Infinity)
  const word = words[start]
  if (word === undefined || !isInteger(word)) return
  const count = Number(word)
  if (field.count === "items") return yield* repeated(item, start + 1, count, count)
  for (const found of repeated(item, start + 1, 0, count)) if (found.next === start + 1 + count) yield found
}

/** The part at `index`, and all that follow. */
function* partsAt(
  parts: ReadonlyArray<Part>,
  index: number,
  words: Words,
  at: number,
  values: Values
): Generator<At<Values>> {
  const part = parts[index]
  if (part === undefined) return yield { value: values, next: at }
  if (part.tag === "word") {
    if (matchesWords(words, at, part.wire)) {
      yield* partsAt(parts, index + 1, words, at + part.wire.length, values)
    }
    return
  }
  const { field } = part
  if (part.tag === "field" && field.optional) {
    const run = parts.slice(index).findIndex((next) => next.tag !== "field" || !next.field.optional)
    const end = run === -1 ? parts.length : index + run
    const fields = parts.slice(index, end).flatMap((next) => (next.tag === "field" ? [next.field] : []))
    return yield* anyOrder(fields, parts, end, words, at, values)
  }
  for (const found of fieldAt(field, words, at)) {
    yield* partsAt(parts, index + 1, words, found.next, { ...values, [field.name]: found.value })
  }
  if (field.optional) yield* partsAt(parts, index + 1, words, at, values)
}

/** Options that are left, in any order, and then the parts from `end` on. */
function* anyOrder(
  fields: ReadonlyArray<Field>,
  parts: ReadonlyArray<Part>,
  end: number,
  words: Words,
  at: number,
  values: Values
): Generator<At<Values>> {
  for (const field of fields) {
    for (const found of fieldAt(field, words, at)) {
      if (found.next === at) continue
      const left = fields.filter(
        (other) => other !== field && (field.group === undefined || other.group !== field.group)
      )
      yield* anyOrder(left, parts, end, words, found.next, { ...values, [field.name]: found.value })
    }
  }
  yield* partsAt(parts, end, words, at, values)
}

/** The arguments of the function that sends these words (without the command's name); undefined when there are none. */
export const argumentsOf = (signature: Signature, words: Words): ReadonlyArray<unknown> | undefined => {
  for (const found of partsAt(signature.parts, 0, words, 0, {})) {
    if (found.next !== words.length) continue
    const options = Object.fromEntries(
      signature.options.flatMap(({ name }) => (name in found.value ? [[name, found.value[name]]] : []))
    )
    const params = signature.params.map(({ name }) => found.value[name])
    if (Object.keys(options).length > 0) return [...params, options]
    const given = params.findLastIndex((value) => value !== undefined)
    return params.slice(0, given + 1)
  }
  return undefined
}

/** An argument as it goes on the wire, a character for a byte. */
export const wordOf = (argument: unknown): string => {
  if (argument instanceof Uint8Array) return String.fromCharCode(...argument)
  if (typeof argument !== "number") return String(argument)
  if (argument === Infinity) return "inf"
  return argument === -Infinity ? "-inf" : String(argument)
}

/** The same word: names without regard to case, numbers by their value. */
export const alike = (left: string, right: string): boolean => {
  if (same(left, right)) return true
  const number = toNumber(left)
  return number !== undefined && number === toNumber(right)
}

const normal = (word: string): string => {
  const number = toNumber(word)
  return number === undefined ? word.toUpperCase() : String(number)
}

/** The same words, options in any order. */
export const equivalent = (signature: Signature, skip: number, expected: Words, made: Words): boolean => {
  if (expected.length !== made.length) return false
  if (expected.every((word, index) => alike(word, made[index]))) return true
  if (expected.map(normal).toSorted().join("\0") !== made.map(normal).toSorted().join("\0")) return false
  const again = argumentsOf(signature, made.slice(skip))
  const first = argumentsOf(signature, expected.slice(skip))
  return again !== undefined && shown(again) === shown(first)
}

const shown = (value: unknown): string =>
  JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === "bigint") return `${item}n`
    if (typeof item !== "object" || item === null || Array.isArray(item)) return item
    return Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  })

/**
 * The look of our objects when they are printed: as what they are, never with what they hold. Calls hold arguments, and
 * options passwords.
 *
 * @internal
 */

export const inspectSymbol = Symbol.for("nodejs.util.inspect.custom")

/** Shows itself to `console.log` and `JSON.stringify` as `toJSON` says. */
export abstract class SafeInspectable {
  abstract toJSON(): unknown

  [inspectSymbol](): unknown {
    return this.toJSON()
  }
}

type Inspect = (value: unknown, options: unknown) => string

interface Shown {
  readonly _tag: string
  readonly message: string
  readonly cause?: unknown
}

/** The fields of an error, without what its message says already. */
const fieldsOf = (error: Shown): Record<string, unknown> => {
  const own = Object.entries(error).filter(([name]) => name !== "_tag" && name !== "message" && !name.startsWith("~"))
  return Object.fromEntries(error.cause === undefined ? own : [...own, ["cause", error.cause]])
}

/** With the tag and the fields of its reason, where it has one: the reason has the same message. */
const allFieldsOf = (error: Shown & { readonly reason?: Shown | undefined }): Record<string, unknown> =>
  typeof error.reason === "object" ? { reason: error.reason._tag, ...fieldsOf(error.reason) } : fieldsOf(error)

/**
 * Lets the instances of an error's class show themselves to `console.log` as their message, and then what they are made of: the
 * message is what a person looks for. Stacks are left out, as they are those of the machinery.
 */
export const showsMessage = (each: { readonly prototype: { readonly message: string } }): void => {
  Object.defineProperty(each.prototype, inspectSymbol, {
    configurable: true,
    value(this: Shown, _depth: number, options: unknown, inspect: Inspect) {
      return `${this._tag}: ${this.message} ${inspect(allFieldsOf(this), options)}`
    }
  })
}

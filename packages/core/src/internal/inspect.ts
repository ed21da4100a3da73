/**
 * How our objects look when somebody prints them: as what they are, never with what they hold. Calls hold arguments, and
 * options passwords.
 *
 * @internal
 */

export const inspectSymbol = Symbol.for("nodejs.util.inspect.custom")

/** Shows itself to `console.log` and `JSON.stringify` as `toJSON` says. */
export abstract class Discreet {
  abstract toJSON(): unknown

  [inspectSymbol](): unknown {
    return this.toJSON()
  }
}

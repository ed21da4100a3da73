/**
 * How commands begin: the number of their elements and their name, as the encoder writes them.
 *
 * For names that are known beforehand, as they are usually written (in capitals, or in small letters). Nothing of what callers
 * give is ever kept.
 *
 * @internal
 */

/** Commands of more elements are rare, and the name is a small part of them. */
const LONGEST = 8

export class Heads {
  /** By name; the array is made when the name is first used. */
  private readonly byName: Map<string, Array<string> | undefined>

  constructor(names: Iterable<string>) {
    this.byName = new Map()
    for (const name of names) {
      this.byName.set(name.toUpperCase(), undefined)
      this.byName.set(name.toLowerCase(), undefined)
    }
  }

  /** Such a head, without the line break that ends it: `*2\r\n$3\r\nGET`. Empty where there is none for this name. */
  of(name: string, count: number): string {
    if (count > LONGEST) return ""
    const heads = this.byName.get(name)
    if (heads !== undefined) return heads[count]
    return this.byName.has(name) ? this.make(name, count) : ""
  }

  private make(name: string, count: number): string {
    const heads = Array.from({ length: LONGEST + 1 }, (_, count) => `*${count}\r\n$${name.length}\r\n${name}`)
    this.byName.set(name, heads)
    return heads[count]
  }

  /** How many names there are, in either spelling. It does not change. */
  get size(): number {
    return this.byName.size
  }
}

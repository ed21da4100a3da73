/**
 * The stack of the parser: one `OpenAggregate` for each open aggregate.
 *
 * @internal
 */
import {
  type Attributes,
  type Container,
  MapContainer,
  ListContainer,
  NoContainer,
  PairsContainer,
  SetContainer
} from "./builder.ts"
import { ArrayType } from "./grammar.ts"

/** The value of the containers not in use; nothing is ever put in these. */
const noItems: Array<never> = []
const noEntries = new Map<never, never>()
const noMembers = new Set<never>()

/** An open aggregate. Levels are reused; `release` drops what they hold. */
export class OpenAggregate<V> {
  kind = ArrayType
  container: Container = ListContainer
  /** Elements still to come. Below zero: streamed, and `-1 - left` have come. */
  left = 0
  items: Array<V>
  pairs: Array<[V, V]>
  entries: Map<V, V>
  members: Set<V>
  /** Attributes of the aggregate itself. */
  attributes: Attributes<V> | null = null
  /** Whether its content is skipped, while what is around it is not. */
  discards = false
  private key: V
  private hasKey = false

  constructor(absent: V) {
    this.key = absent
    this.items = noItems
    this.pairs = noItems
    this.entries = noEntries
    this.members = noMembers
  }

  /** Whether an end mark closes it, and not its length. */
  get streamed(): boolean {
    return this.left < 0
  }

  /** Elements that have come, if it is streamed. */
  get count(): number {
    return -1 - this.left
  }

  /** Begins an aggregate of `left` elements, or a streamed one (-1). */
  open(kind: number, container: Container, left: number, attributes: Attributes<V> | null, discards: boolean): void {
    this.kind = kind
    this.container = container
    this.left = left
    this.attributes = attributes
    this.discards = discards
    this.hasKey = false
    if (container === ListContainer) this.items = []
    else if (container === PairsContainer) this.pairs = []
    else if (container === MapContainer) this.entries = new Map()
    else if (container === SetContainer) this.members = new Set()
  }

  /** Adds an element: in a map, keys and values by turns. */
  add(value: V): void {
    if (this.container === ListContainer) this.items.push(value)
    else if (this.container === SetContainer) this.members.add(value)
    else if (this.container !== NoContainer) this.addHalf(value)
  }

  /** Drops what it holds. */
  release(absent: V): void {
    this.key = absent
    this.attributes = null
    this.items = noItems
    this.pairs = noItems
    this.entries = noEntries
    this.members = noMembers
  }

  private addHalf(value: V): void {
    if (!this.hasKey) {
      this.key = value
      this.hasKey = true
      return
    }
    this.hasKey = false
    if (this.container === MapContainer) this.entries.set(this.key, value)
    else this.pairs.push([this.key, value])
  }
}

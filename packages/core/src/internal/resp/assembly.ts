/**
 * Puts parsed values together: the second half of the parser, which knows nothing of bytes.
 *
 * Open aggregates are `OpenAggregate`s on a stack that is reused, so nothing recurses. A reply that fails (over a limit, or not
 * text) leaves the stack and is passed with `Skipper`; its failure is put out when it is over. Values are `discarding` when nobody
 * will see them: those of a failed reply, and those of attributes that the builder does not keep.
 *
 * @internal
 */
import {
  type Attributes,
  type Builder,
  type Container,
  MapContainer,
  ListContainer,
  NoContainer,
  PairsContainer,
  SetContainer
} from "./builder.ts"
import { Attribute, MapType, PushType, SetType, StreamEnd } from "./grammar.ts"
import { OpenAggregate } from "./openAggregate.ts"
import { type DecodeError, type Limits, Push, ReplyFailure, ReplyLimitError } from "./model.ts"
import { Skipper } from "./skipper.ts"

/** The most entries that the engine's `Map` and `Set` hold; with one more they throw. */
const LARGEST_COLLECTION = 2 ** 24

/** The placeholder of a reply that nobody waits for: nobody sees it. */
const unwanted = new ReplyLimitError("maxReplyBytes", 0)

/** One element of what a parser puts out. */
export type Parsed<V> = V | Push<V> | ReplyFailure

/** See the head of this file. */
export class Assembly<V> {
  /** Where complete replies go. */
  out: Array<Parsed<V>> = []
  /** Whether nobody will see the current value. */
  discarding = false
  /** Whether the current reply is passed because it failed. */
  skipping = false
  /** Open aggregates. */
  depth = 0
  /** Whether the current reply is decoded as bytes. */
  bytes: boolean
  /** Asked with the number of a reply at its first byte: is it decoded as bytes? Null: as `defaultBytes` says. */
  nextBytes: ((reply: number) => boolean) | null = null
  /** Whether pushes are decoded as bytes. */
  pushBytes: boolean

  private readonly builder: Builder<V>
  private readonly limits: Limits
  private readonly defaultBytes: boolean
  /** Replies that were put out. */
  private replies = 0
  private readonly levels: Array<OpenAggregate<V>>
  private top: OpenAggregate<V>
  /** Whether the attributes that wait are decoded as bytes, and so what they describe. */
  private described = false
  /** Attributes that wait for the next value. */
  private attributes: Attributes<V> | null = null
  private readonly skip = new Skipper()
  /** Replies that are passed because nobody waits for them count, too. */
  get count(): number {
    return this.replies
  }

  private failure: DecodeError | ReplyLimitError | undefined = undefined
  /** Whether the value that failed is a push. */
  private failsPush = false

  constructor(builder: Builder<V>, limits: Limits, bytes: boolean) {
    this.builder = builder
    this.limits = limits
    this.defaultBytes = bytes
    this.bytes = bytes
    this.pushBytes = bytes
    this.top = new OpenAggregate(builder.absent)
    this.levels = [this.top]
  }

  /** Whether nothing is begun. */
  get idle(): boolean {
    return this.depth === 0 && !this.skipping && this.attributes === null
  }

  /** Whether no aggregate is begun. */
  get atTop(): boolean {
    return this.depth === 0 && !this.skipping
  }

  /** Whether the aggregate that is begun is a reply. */
  get inReply(): boolean {
    if (this.depth === 0) return this.skipping && !this.failsPush
    const { kind } = this.levels[0]
    return kind !== PushType && kind !== Attribute
  }

  /** Whether the current value is an element of a push. */
  get inPush(): boolean {
    return this.depth > 0 && this.levels[0].kind === PushType
  }

  /** May a push come now? Only between replies. */
  get mayPush(): boolean {
    return this.skipping ? this.skip.atTop : this.depth === 0
  }

  /** May a streamed aggregate end now? Not between an attribute and its value, nor a key and its value. */
  get mayEndStream(): boolean {
    if (this.skipping) return this.skip.mayCloseStream
    if (this.depth === 0 || this.top.left >= 0 || this.attributes !== null) return false
    return this.top.kind !== MapType || this.top.count % 2 === 0
  }

  /** The type byte of a value, an attribute or a push was read. */
  begin(type: number): void {
    if (this.skipping) {
      if (type !== StreamEnd) this.skip.begin()
    } else if (this.depth === 0) {
      if (type === PushType) this.bytes = this.pushBytes
      else this.beginReply()
      // An attribute is decoded as the reply is that it describes.
      if (type === Attribute) this.described = this.bytes
    }
  }

  /** The first byte of a reply: sets its mode. */
  beginReply(): void {
    if (this.nextBytes === null) this.bytes = this.defaultBytes
    else this.bytes = this.attributes === null ? this.nextBytes(this.replies) : this.described
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Values
  // ---------------------------------------------------------------------------------------------------------------

  /** A value without elements. */
  deliver(value: V): void {
    if (this.attributes !== null) this.deliver(this.describe(value))
    else if (this.depth > 0) this.addValue(value)
    else {
      this.replies++
      this.out.push(value)
    }
  }

  private addValue(value: V): void {
    const level = this.top
    level.add(value)
    level.left--
    if (level.left <= 0) this.full(level)
  }

  private full(level: OpenAggregate<V>): void {
    if (level.left < 0) this.checkStream()
    else this.close()
  }

  /** A value without elements that nobody will see. */
  pass(): void {
    if (!this.skipping) return this.deliver(this.builder.absent)
    this.skip.leaf()
    this.settle()
  }

  /** The value with the attributes that preceded it. */
  private describe(value: V): V {
    const attributes = this.attributes ?? []
    this.attributes = null
    return this.discarding ? value : this.builder.attach(value, attributes)
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Aggregates
  // ---------------------------------------------------------------------------------------------------------------

  /** The head of an aggregate, a pair counting two elements. False when it cannot even be passed. */
  open(kind: number, elements: number): boolean {
    if (!this.skipping) this.checkHead(elements)
    if (elements > LARGEST_COLLECTION && !this.skipping) this.checkCollection(kind, elements)
    if (!this.skipping) {
      this.openLevel(kind, elements)
      return true
    }
    if (kind === PushType) this.failsPush = true
    const counted = kind === Attribute ? this.skip.openAttribute(elements) : this.skip.open(elements)
    this.settle()
    return counted
  }

  /** The head of a streamed aggregate. False when it cannot even be passed. */
  openStream(kind: number): boolean {
    if (!this.skipping) this.checkHead(0)
    if (this.skipping) return this.skip.openStream(kind === MapType)
    this.openLevel(kind, -1)
    return true
  }

  /** The end mark of a streamed aggregate, where it may be. */
  endStream(): void {
    if (!this.skipping) return this.close()
    this.skip.closeStream()
    this.settle()
  }

  private checkHead(elements: number): void {
    const { maxDepth, maxElements } = this.limits
    if (elements > maxElements) this.fail(new ReplyLimitError("maxElements", maxElements))
    else if (this.depth >= maxDepth) this.fail(new ReplyLimitError("maxDepth", maxDepth))
  }

  /** Fails a map or set that would be larger than the engine's. */
  private checkCollection(kind: number, elements: number): void {
    const container = this.containerOf(kind)
    const entries = container === MapContainer ? elements / 2 : container === SetContainer ? elements : 0
    if (entries <= LARGEST_COLLECTION) return
    this.fail(new ReplyLimitError(container === MapContainer ? "Map" : "Set", LARGEST_COLLECTION))
  }

  private openLevel(kind: number, left: number): void {
    const discards = kind === Attribute && !this.discarding && !this.builder.keepsAttributes
    if (discards) this.discarding = true
    if (this.depth === this.levels.length) this.levels.push(new OpenAggregate(this.builder.absent))
    const level = this.levels[this.depth]
    level.open(kind, this.containerOf(kind), left, this.attributes, discards)
    this.attributes = null
    this.depth++
    this.top = level
    if (left === 0) this.close()
  }

  private containerOf(kind: number): Container {
    if (this.discarding) return NoContainer
    if (kind === MapType) return this.builder.mapContainer(this.bytes)
    if (kind === SetType) return this.builder.setContainer(this.bytes)
    return kind === Attribute ? PairsContainer : ListContainer
  }

  /** The innermost aggregate is complete, and with it perhaps those around it. */
  private close(): void {
    while (true) {
      const level = this.top
      this.depth--
      this.top = this.levels[this.depth === 0 ? 0 : this.depth - 1]
      if (level.kind === Attribute) return this.keepAttributes(level)
      if (level.kind === PushType) return this.putPush(level)
      const value = this.valueOf(level)
      level.release(this.builder.absent)
      if (this.depth === 0) return this.deliver(value)
      this.top.add(value)
      this.top.left--
      if (this.top.left < 0) return this.checkStream()
      if (this.top.left > 0) return
    }
  }

  /** The value of a complete aggregate. */
  private valueOf(level: OpenAggregate<V>): V {
    if (level.container === NoContainer) return this.builder.absent
    const value = this.contentOf(level, level.streamed)
    return level.attributes === null ? value : this.builder.attach(value, level.attributes)
  }

  private contentOf(level: OpenAggregate<V>, streamed: boolean): V {
    switch (level.container) {
      case PairsContainer:
        return this.builder.mapOfPairs(level.pairs, streamed)
      case MapContainer:
        return this.builder.map(level.entries, streamed)
      case SetContainer:
        return this.builder.set(level.members, streamed)
      default:
        return level.kind === SetType
          ? this.builder.setOfItems(level.items, streamed)
          : this.builder.array(level.items, streamed)
    }
  }

  /** A complete attribute waits for the next value; several in a row describe the same one. */
  private keepAttributes(level: OpenAggregate<V>): void {
    const before = level.attributes ?? []
    this.attributes = level.container === NoContainer ? before : [...before, ...level.pairs]
    if (level.discards) this.discarding = false
    level.release(this.builder.absent)
  }

  private putPush(level: OpenAggregate<V>): void {
    const push = new Push(level.items, undefined)
    level.release(this.builder.absent)
    this.out.push(push)
  }

  /** Fails a streamed aggregate that its new element makes too long. */
  private checkStream(): void {
    const max = this.limits.maxElements
    const { top } = this
    if (top.count > max) this.fail(new ReplyLimitError("maxElements", max), true)
    else if (top.container === SetContainer && top.count > LARGEST_COLLECTION - 1)
      this.checkFull("Set", top.members.size)
    else if (top.container === MapContainer && top.count > LARGEST_COLLECTION - 1)
      this.checkFull("Map", top.entries.size)
  }

  /** A streamed collection is full: the next entry would make the engine throw. */
  private checkFull(limit: "Map" | "Set", size: number): void {
    if (size >= LARGEST_COLLECTION) this.fail(new ReplyLimitError(limit, LARGEST_COLLECTION), true)
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Failures
  // ---------------------------------------------------------------------------------------------------------------

  /**
   * The reply fails: what there is of it is dropped, and the rest is skipped. This happens while a value is read, except
   * when a streamed aggregate was too long with the last one (`between`).
   */
  fail(error: DecodeError | ReplyLimitError, between = false): void {
    this.failure = error
    this.failsPush = this.inPush
    this.skip.start()
    for (let index = 0; index < this.depth; index++) this.skipLevel(this.levels[index])
    if (!between) this.skip.begin()
    this.drop()
    this.skipping = true
    this.discarding = true
  }

  /** Gives up the reply that has begun: it is passed like one over a limit. `between`: no value of it is being read. */
  abandon(between: boolean): void {
    if (!this.skipping) this.fail(unwanted, between)
  }

  /** Drops all that is begun. */
  drop(): void {
    for (let index = 0; index < this.depth; index++) this.levels[index].release(this.builder.absent)
    this.depth = 0
    this.top = this.levels[0]
    this.attributes = null
  }

  private skipLevel(level: OpenAggregate<V>): void {
    this.skip.begin()
    if (level.kind === Attribute) this.skip.openAttribute(level.left)
    else if (level.streamed) this.skip.openStream(level.kind === MapType, level.count % 2 === 1)
    else this.skip.open(level.left)
  }

  /** If a failed reply was passed, its failure takes its place. */
  private settle(): void {
    if (!this.skip.done || this.failure === undefined) return
    if (this.failsPush) this.out.push(new Push<V>([], this.failure))
    else {
      this.replies++
      this.out.push(new ReplyFailure(this.failure))
    }
    this.failure = undefined
    this.skipping = false
    this.discarding = false
  }
}

/**
 * The load of the cluster soak, and its ledger. Workers send one call after the other; every text that a worker writes is
 * written once, to a list that only this worker writes. At the end the lists are read from the servers: a text that is there
 * twice was run twice.
 */
import type { Client, Outcome, Text } from "./clients.ts"

/** A slot that is written to: a hash tag of it, and the shard that has it at the start. */
export interface Place {
  readonly slot: number
  readonly tag: string
  readonly shard: number
}

interface Written {
  readonly list: string
  readonly shard: number
  outcome: "under way" | "acknowledged" | "unsent" | "refused" | "unknown"
  at: number
}

/** The figures of one shard. */
export interface ShardFigures {
  calls: number
  errors: number
  lastSuccess: number
  gapMillis: number
  /** When its longest gap ended, if that was after the fault began. */
  recoveredAt: number
}

export class Workload {
  private readonly client: Client
  private readonly places: ReadonlyArray<Place>
  private readonly random: () => number
  private readonly written = new Map<string, Written>()
  readonly shards = new Map<number, ShardFigures>()
  readonly messages = new Map<string, number>()
  private running = true
  private underWay = 0
  calls = 0
  errors = 0
  readErrors = 0
  unknown = 0
  wrong = 0
  slowestMillis = 0
  /** When the fault began, for `recoveredAt`. */
  faultAt = Infinity

  constructor(client: Client, places: ReadonlyArray<Place>, random: () => number) {
    this.client = client
    this.places = places
    this.random = random
    for (const { shard } of places) {
      this.shards.set(shard, { calls: 0, errors: 0, lastSuccess: 0, gapMillis: 0, recoveredAt: 0 })
    }
  }

  constantOf(place: Place): readonly [key: string, value: string] {
    return [`{${place.tag}}:constant`, `value of ${place.slot}`]
  }

  /** Writes what is read all the time. */
  async prepare(): Promise<void> {
    for (const place of this.places) await this.client.command(["SET", ...this.constantOf(place)])
  }

  /** Worker `index` of each `shards + 1` has all shards, the others one each, so that a shard that hangs holds up its own. */
  async worker(index: number): Promise<void> {
    const shardCount = this.shards.size
    const own = index % (shardCount + 1)
    const mixed = own === shardCount
    const places = mixed ? this.places : this.places.filter(({ shard }) => shard === own)
    for (let n = 0; this.running; n++) {
      const place = places[Math.floor(this.random() * places.length)]
      if (place === undefined) return
      const dice = this.random()
      const began = performance.now()
      this.underWay++
      if (mixed && dice < 0.5) await this.pipeline(index, n, places)
      else if (dice < 0.45) this.read(place, await this.client.command(["GET", this.constantOf(place)[0]]), !mixed)
      else if (dice < 0.9) await this.write(index, n, place, !mixed)
      else await this.multi(index, n, place, !mixed)
      this.underWay--
      this.slowestMillis = Math.max(this.slowestMillis, performance.now() - began)
    }
  }

  /** Writes one after the other with little time for each: they may fail, and must say rightly whether they can have run. */
  async impatient(index: number): Promise<void> {
    const { impatient } = this.client
    if (impatient === undefined) return
    for (let n = 0; this.running; n++) {
      const place = this.places[Math.floor(this.random() * this.places.length)]
      if (place === undefined) return
      const [list, text] = this.text(index, n, 0, place)
      this.underWay++
      this.told(text, await impatient(["RPUSH", list, text]))
      this.underWay--
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  private text(index: number, n: number, part: number, place: Place): readonly [list: string, text: string] {
    const list = `{${place.tag}}:list:${index}`
    const text = `${index}:${n}:${part}`
    this.written.set(text, { list, shard: place.shard, outcome: "under way", at: 0 })
    return [list, text]
  }

  private async write(index: number, n: number, place: Place, counts: boolean): Promise<void> {
    const [list, text] = this.text(index, n, 0, place)
    this.wrote([text], await this.client.command(["RPUSH", list, text]), place, counts)
  }

  private async multi(index: number, n: number, place: Place, counts: boolean): Promise<void> {
    const [list, first] = this.text(index, n, 0, place)
    const [, second] = this.text(index, n, 1, place)
    const commands: ReadonlyArray<ReadonlyArray<Text>> = [
      ["RPUSH", list, first],
      ["RPUSH", list, second]
    ]
    this.wrote([first, second], await this.client.multi(commands), place, counts)
  }

  private async pipeline(index: number, n: number, places: ReadonlyArray<Place>): Promise<void> {
    const start = Math.floor(this.random() * places.length)
    const some = [0, 1, 2, 3, 4, 5]
      .map((i) => places[(start + i * 5) % places.length])
      .filter((one) => one !== undefined)
    const distinct = [...new Set(some)]
    const texts = distinct.map((place, i) => (i % 2 === 0 ? this.text(index, n, i, place) : undefined))
    const outcomes = await this.client.pipeline(
      distinct.map((place, i) => {
        const text = texts[i]
        return text === undefined ? ["GET", this.constantOf(place)[0]] : ["RPUSH", ...text]
      })
    )
    for (const [i, place] of distinct.entries()) {
      const outcome = outcomes[i]
      const text = texts[i]
      if (outcome === undefined) continue
      if (text === undefined) this.read(place, outcome, false)
      else this.wrote([text[1]], outcome, place, false)
    }
  }

  private note(place: Place, outcome: Outcome, counts: boolean): void {
    this.calls++
    const figures = this.shards.get(place.shard)
    if (figures === undefined) return
    figures.calls++
    if (outcome._tag === "Failed") {
      this.errors++
      figures.errors++
      const text = outcome.message.replace(/\d[\d.:]*/g, "#").slice(0, 120)
      this.messages.set(text, (this.messages.get(text) ?? 0) + 1)
      return
    }
    const now = performance.now()
    if (!counts) return
    const gap = figures.lastSuccess > 0 ? now - figures.lastSuccess : 0
    figures.lastSuccess = now
    if (gap <= figures.gapMillis) return
    figures.gapMillis = gap
    // The end of the longest gap is the recovery.
    if (now > this.faultAt) figures.recoveredAt = now
  }

  private read(place: Place, outcome: Outcome, counts: boolean): void {
    this.note(place, outcome, counts)
    if (outcome._tag === "Failed") this.readErrors++
    else if (outcome.reply !== this.constantOf(place)[1]) this.wrong++
  }

  private wrote(texts: ReadonlyArray<string>, outcome: Outcome, place: Place, counts: boolean): void {
    this.note(place, outcome, counts)
    for (const text of texts) if (this.told(text, outcome) === "unknown") this.unknown++
  }

  /** Notes what the client says of a write. */
  private told(text: string, outcome: Outcome): Written["outcome"] | undefined {
    const written = this.written.get(text)
    if (written === undefined) return undefined
    written.at = performance.now()
    if (outcome._tag === "Ok") written.outcome = "acknowledged"
    else if (outcome.ran === "no") written.outcome = "refused"
    else written.outcome = outcome.ran === "unsent" ? "unsent" : "unknown"
    return written.outcome
  }

  /** Lets the workers end. Returns how many calls did not within the time. */
  async stop(workers: ReadonlyArray<Promise<void>>, millis: number): Promise<number> {
    this.running = false
    await Promise.race([Promise.all(workers), new Promise((resolve) => setTimeout(resolve, millis).unref())])
    return this.underWay
  }

  /**
   * Compares with what the servers have: their lists by name. `lostAfter`: acknowledged later than that and gone. `victim`: the
   * shard that has lost its primary. A write to another one that was told as unknown and has not run was refused: nobody lost
   * it.
   */
  compare(lists: ReadonlyMap<string, ReadonlyArray<string>>, lostAfter: number, victim: number | undefined) {
    let doubles = 0
    let disorder = 0
    let lost = 0
    let lostLate = 0
    let unsentRan = 0
    let refusedRan = 0
    let unknownRan = 0
    let refused = 0
    let refusedUnknown = 0
    const there = new Set<string>()
    for (const texts of lists.values()) {
      let last = -1
      for (const text of texts) {
        if (there.has(text)) doubles++
        there.add(text)
        const [, n = 0, part = 0] = text.split(":").map(Number)
        const rank = n * 10 + part
        if (rank < last) disorder++
        last = Math.max(last, rank)
      }
    }
    for (const [text, { at, outcome, shard }] of this.written) {
      const ran = there.has(text)
      if (outcome === "acknowledged" && !ran) {
        lost++
        if (at > lostAfter) lostLate++
      }
      if (outcome === "unsent" && ran) unsentRan++
      if (outcome === "refused" && ran) refusedRan++
      if (outcome === "unknown" && ran) unknownRan++
      if (outcome === "refused") refused++
      if (outcome === "unknown" && !ran && shard !== victim) refusedUnknown++
    }
    const wrong = { doubles, disorder, lost, lostLate, unsentRan, refusedRan, refusedUnknown }
    return { ...wrong, writes: this.written.size, refused, unknownRan }
  }

  /** The lists that were written to. */
  get lists(): ReadonlySet<string> {
    return new Set([...this.written.values()].map(({ list }) => list))
  }
}

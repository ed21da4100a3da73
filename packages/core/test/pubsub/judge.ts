/**
 * A ledger of numbered messages: what was published when, and what each subscription was told in which order. It finds what was
 * missed outside of a gap, told twice, or told out of order.
 */
import type { RedisPubSub } from "@relive/core"

interface Published {
  /** Before it was written. */
  readonly sentAt: number
  /** After it was answered; `undefined` when nobody knows whether it was published. */
  readonly answeredAt: number | undefined
}

/** All that was published, by channel; a message's number is its index. */
export class Ledger {
  readonly channels = new Map<string, Array<Published>>()

  /** The next number of each channel. */
  get ends(): ReadonlyMap<string, number> {
    return new Map([...this.channels].map(([channel, list]) => [channel, list.length]))
  }

  publish(channel: string, sentAt: number): number {
    const list = this.channels.get(channel) ?? []
    this.channels.set(channel, list)
    list.push({ sentAt, answeredAt: undefined })
    return list.length - 1
  }

  answered(channel: string, number: number, answeredAt: number): void {
    const list = this.channels.get(channel)
    const published = list?.[number]
    if (list !== undefined && published !== undefined) list[number] = { ...published, answeredAt }
  }
}

/** Verdicts on one subscription. */
export interface Findings {
  readonly delivered: number
  readonly gaps: number
  /** Published while it was subscribed, not told, and not in a gap. */
  readonly missedOutsideGap: ReadonlyArray<string>
  readonly missedInsideGap: number
  readonly deliveredTwice: ReadonlyArray<string>
  readonly disorder: ReadonlyArray<string>
}

interface Told {
  readonly event: RedisPubSub.Event
  readonly at: number
}

/** What one subscription was told. Its events must be told as they come. */
export class Witness {
  private readonly told: Array<Told> = []
  private readonly newest = new Map<string, number>()

  tell(event: RedisPubSub.Event, at: number): void {
    this.told.push({ event, at })
    if (event._tag === "Message") this.newest.set(event.channel, numberOf(event))
  }

  /** Whether on each channel something has come that was published after these numbers. */
  hasReached(ends: ReadonlyMap<string, number>, channels: ReadonlyArray<string>): boolean {
    return channels.every((channel) => (this.newest.get(channel) ?? -1) >= (ends.get(channel) ?? 0))
  }

  get live(): boolean {
    const last = this.told.findLast(({ event }) => event._tag !== "Message" && !isOverflow(event))
    return last?.event._tag === "Subscribed" || last?.event._tag === "Resubscribed"
  }

  judge(ledger: Ledger, channels: ReadonlyArray<string>): Findings {
    const subscribedAt = this.told.find(({ event }) => event._tag === "Subscribed")?.at ?? Infinity
    const findings = { delivered: 0, gaps: 0, missedInsideGap: 0 }
    const missedOutsideGap: Array<string> = []
    const deliveredTwice: Array<string> = []
    const disorder: Array<string> = []
    for (const { event } of this.told) {
      if (event._tag === "Gap") findings.gaps++
      if (event._tag === "Message") findings.delivered++
    }
    for (const channel of channels) {
      const published = ledger.channels.get(channel) ?? []
      const seen = new Set<number>()
      /** Where each message stands among what was told. */
      const places: Array<{ readonly number: number; readonly index: number }> = []
      for (const [index, { event }] of this.told.entries()) {
        if (event._tag !== "Message" || event.channel !== channel) continue
        const number = numberOf(event)
        if (seen.has(number)) deliveredTwice.push(`${channel} ${number}`)
        else if (number < (places.at(-1)?.number ?? -1)) disorder.push(`${channel} ${number}`)
        seen.add(number)
        places.push({ number, index })
      }
      let at = 0
      for (const [number, { answeredAt, sentAt }] of published.entries()) {
        // What was published last may be on its way.
        if (number > (places.at(-1)?.number ?? -1)) break
        if (seen.has(number) || answeredAt === undefined || sentAt < subscribedAt) continue
        while (at < places.length && (places[at]?.number ?? 0) < number) at++
        const before = places[at - 1]?.index ?? -1
        const after = places[at]?.index ?? this.told.length
        if (this.isExplained(before, after, sentAt, answeredAt)) findings.missedInsideGap++
        else missedOutsideGap.push(`${channel} ${number} (sent ${sentAt}, answered ${answeredAt})`)
      }
    }
    return { ...findings, missedOutsideGap, deliveredTwice, disorder }
  }

  /** Whether a gap between two places covers a message of that time. */
  private isExplained(before: number, after: number, sentAt: number, answeredAt: number): boolean {
    // A gap that is open still: some names were confirmed again, and lost again, before all were.
    const earlier = this.told.slice(0, before + 1)
    const opened = earlier.findLastIndex(({ event }) => event._tag !== "Message" && !isOverflow(event))
    for (let index = Math.max(0, opened); index < after; index++) {
      const told = this.told[index]
      if (told?.event._tag !== "Gap" || answeredAt < told.event.since) continue
      if (told.event.reason === "overflow") return true
      const end = this.told.slice(index).find(({ event }) => event._tag === "Resubscribed")
      // It was published before anybody could know that all is whole again.
      if (end === undefined || sentAt <= end.at) return true
    }
    return false
  }
}

const numberOf = (message: RedisPubSub.Message): number => Number(message.payload.split(":")[0])

const isOverflow = (event: RedisPubSub.Event): boolean => event._tag === "Gap" && event.reason === "overflow"

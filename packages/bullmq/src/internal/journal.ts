/**
 * Scripts that may be repeated: each leaves what it returned in a hash of its client, by the number of the call, and a repeated one
 * finds it there. The client says with each call which replies have come, so the hash holds what is under way and no more.
 *
 * @internal
 */
import { randomUUID } from "node:crypto"

/** Those that would do something twice, or lose what they took, when they run again. */
const journaled = /^(add|move|retryJob|reprocess|promote|updateJobScheduler)/

export const isJournaled = (name: string): boolean => journaled.test(name)

/** Notes outlive a client that is gone by this much. */
const KEPT_MILLIS = 120_000

/**
 * The script with the notes around it. Behind its own arguments come: the client, the number of the call, and the numbers whose
 * replies have come, in one text. The notes are beside the first key, on its node.
 */
export const wrap = (lua: string): string => `
local acknowledged, call, client = table.remove(ARGV), table.remove(ARGV), table.remove(ARGV)
local notes = KEYS[1] .. ':relive:' .. client
local noted = redis.call('HGET', notes, call)
if noted then return cmsgpack.unpack(noted) end
local function script()
${lua}
end
local reply = script()
if reply == nil then reply = false end
for number in string.gmatch(acknowledged, '%d+') do redis.call('HDEL', notes, number) end
redis.call('HSET', notes, call, cmsgpack.pack(reply))
redis.call('PEXPIRE', notes, ${KEPT_MILLIS})
return reply
`

/** The calls of one client. */
export class Journal {
  private readonly client = randomUUID()
  private count = 0
  /** The replies that have come and were not told yet, by the first key of their calls. */
  private readonly arrived = new Map<string, Array<number>>()

  /** The text to put behind the arguments of a call, and the step to take when its reply has come. */
  begin(key: string): { readonly words: ReadonlyArray<string>; readonly arrived: () => void } {
    const call = ++this.count
    const told = this.arrived.get(key) ?? []
    this.arrived.delete(key)
    return {
      words: [this.client, String(call), told.join(" ")],
      arrived: () => {
        const numbers = this.arrived.get(key)
        if (numbers === undefined) this.arrived.set(key, [call])
        else numbers.push(call)
      }
    }
  }
}

/**
 * A machine on which callers, their client and a server work, simulated: what a rule of resumption is worth there.
 *
 * Each caller makes its next call as soon as it is resumed. The client reads what is there, resumes the callers of the batch,
 * and writes after each part. The server reads all that has come, serves it and writes the replies. All times are in
 * microseconds.
 */

export interface Machine {
  readonly callers: number
  /** What a call costs us, its caller's code included. */
  readonly call: number
  /** What a write or a read costs, on either side. */
  readonly transfer: number
  /** What a call costs the server. */
  readonly serve: number
  /** Two cores; one; or one on which a write hands the core to the server at once. */
  readonly cores: "two" | "one" | "preempted"
}

/** How many callers to resume before a write, and what a batch has cost. Times are in milliseconds here, as in `Resumption`. */
export interface Rule {
  readonly part: (population: number) => number
  readonly learn: (
    calls: number,
    population: number,
    waited: number,
    wrote: number,
    writes: number,
    busy: number
  ) => void
}

/** Between the end of one's work and the start of the other's. */
const WAKE_UP = 5

/** All that have been simulated when the rule was chosen: 288. */
export const machines: ReadonlyArray<Machine> = [10, 100, 500, 4000].flatMap((callers) =>
  [1, 4, 20].flatMap((call) =>
    [2, 20, 200, 1000].flatMap((transfer) =>
      [0.6, 3].flatMap((serve) =>
        (["two", "one", "preempted"] as const).map((cores) => ({ callers, call, transfer, serve, cores }))
      )
    )
  )
)

interface Group {
  /** When it can be read. */
  readonly at: number
  readonly calls: number
}

/** Calls per second when every caller is answered so many times. */
export const throughput = (machine: Machine, rule: Rule, times: number): number => {
  const { call, callers, cores, serve, transfer } = machine
  const requests: Array<Group> = [{ at: 0, calls: callers }]
  const replies: Array<Group> = []
  let client = 0
  let server = 0

  /** All that has come until then, in one read. */
  const take = (from: Array<Group>, until: number): number => {
    let calls = 0
    while (from[0] !== undefined && from[0].at <= until) calls += from.shift()?.calls ?? 0
    return calls
  }

  /** The server's next turn, from `start` on. */
  const turn = (start: number): void => {
    const calls = take(requests, start)
    if (calls === 0) return
    server = start + transfer + calls * serve + transfer
    replies.push({ at: server + WAKE_UP, calls })
  }

  /** Lets the server do all that it begins before this moment, on its own core. */
  const serveUntil = (moment: number): void => {
    for (let next = requests[0]; next !== undefined; next = requests[0]) {
      const start = Math.max(server, next.at)
      if (start >= moment) return
      turn(start)
    }
  }

  let answered = 0
  while (answered < callers * times) {
    const idleSince = client
    // Nothing is there to read: the server has its own core, or the only one until it has nothing to do.
    if (cores === "two") serveUntil(replies[0] === undefined ? Infinity : Math.max(client, replies[0].at))
    else if (replies[0] === undefined || replies[0].at > client) {
      while (requests.length > 0) turn(Math.max(server, client + WAKE_UP))
      client = Math.max(client, server + WAKE_UP)
    }
    client = Math.max(client, replies[0]?.at ?? client) + transfer
    const calls = take(replies, client - transfer)
    const waited = client - idleSince
    const part = rule.part(callers)
    let wrote = 0
    let writes = 0
    for (let done = 0; done < calls; done += part) {
      const now = Math.min(part, calls - done)
      client += now * call
      const before = client
      client += transfer
      requests.push({ at: client + WAKE_UP, calls: now })
      if (cores === "preempted") {
        turn(client + WAKE_UP)
        client = Math.max(client, server)
      }
      wrote += client - before
      writes++
    }
    answered += calls
    rule.learn(calls, callers, waited / 1000, wrote / 1000, writes, (calls * call) / 1000)
  }
  return (answered / client) * 1e6
}

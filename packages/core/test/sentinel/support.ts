/** Sentinels that say what a test wants. */
import { FakeServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

const { bulk } = FakeServer

export interface FakeReplica {
  readonly port: number
  readonly flags?: string
  readonly link?: string
}

/** What a scripted Sentinel knows now; a test may change it. */
export class Knowledge {
  host = "127.0.0.1"
  port: number
  /** The port that `SENTINEL MASTER` has, where it is another one: the leader of a failover has still the old primary's. */
  described: number | undefined = undefined
  epoch = 1
  id = "id"
  replicas: ReadonlyArray<FakeReplica> = []
  others: ReadonlyArray<{ readonly port: number; readonly id: string }> = []
  /** The connections that have subscribed; the latch is opened by the first. */
  readonly listeners = new Set<FakeServer.Connection>()
  readonly isHeard = Latch.makeUnsafe(false)
  /** Closed while the Sentinel says nothing; what it was asked meanwhile it replies to when it is opened. */
  readonly voice = Latch.makeUnsafe(true)

  constructor(port: number) {
    this.port = port
  }

  set mute(mute: boolean) {
    if (mute) this.voice.closeUnsafe()
    else this.voice.openUnsafe()
  }

  /** Tells those who have subscribed of an event, once there is anybody. */
  announce(kind: string, payload = `master mymaster ${this.host} ${this.port}`): Effect.Effect<void> {
    const message = `>3\r\n${bulk("message")}${bulk(kind)}${bulk(payload)}`
    return Effect.andThen(
      this.isHeard.await,
      Effect.suspend(() => Effect.forEach(this.listeners, (listener) => listener.send(message), { discard: true }))
    )
  }
}

type Changeable = Pick<Knowledge, "host" | "described" | "epoch" | "id" | "replicas" | "others" | "mute">

export const knowing = (port: number, more: Partial<Changeable> = {}): Knowledge =>
  Object.assign(new Knowledge(port), more)

/** A description as a map of RESP3, or a flat list of RESP2. */
const described = (fields: Readonly<Record<string, string | number>>): string => {
  const entries = Object.entries(fields)
  return `%${entries.length}\r\n${entries.map(([name, value]) => bulk(name) + bulk(String(value))).join("")}`
}

const list = (items: ReadonlyArray<string>): string => `*${items.length}\r\n${items.join("")}`

const replyOf = (known: Knowledge, [what = "", group = ""]: ReadonlyArray<string>): string => {
  if (what === "GET-MASTER-ADDR-BY-NAME" && group !== "mymaster") return "*-1\r\n"
  if (what !== "MYID" && group !== "mymaster") return "-ERR No such master with that name\r\n"
  switch (what) {
    case "MASTER":
      return described({
        name: group,
        ip: known.host,
        port: known.described ?? known.port,
        flags: "master",
        "config-epoch": known.epoch
      })
    case "GET-MASTER-ADDR-BY-NAME":
      return list([bulk(known.host), bulk(String(known.port))])
    case "SENTINELS":
      return list(
        known.others.map(({ id, port }) => described({ ip: "127.0.0.1", port, runid: id, flags: "sentinel" }))
      )
    case "REPLICAS":
      return list(
        known.replicas.map(({ flags = "slave", link = "ok", port }) =>
          described({ ip: "127.0.0.1", port, flags, "master-link-status": link })
        )
      )
    case "MYID":
      return bulk(known.id)
    default:
      return "-ERR Unknown sentinel subcommand\r\n"
  }
}

/** A Sentinel that is asked, and whose events are subscribed to. */
export const fakeSentinel = (known: Knowledge, options: FakeServer.Options = {}) =>
  FakeServer.make(
    (connection) =>
      connection.serve(FakeServer.handshake, ([name = "", ...args]) => {
        if (name === "SUBSCRIBE") {
          known.listeners.add(connection)
          known.isHeard.openUnsafe()
          return `>3\r\n${bulk("subscribe")}${bulk(args[0] ?? "")}:1\r\n`
        }
        if (name !== "SENTINEL") return undefined
        return Effect.as(known.voice.await, replyOf(known, args))
      }),
    options
  )

/** A server with a name and a role. */
export const fakeServer = (name: string, role: "master" | "slave" = "master", options: FakeServer.Options = {}) =>
  FakeServer.make(
    (connection) =>
      connection.serve(FakeServer.handshake, ([command]) => {
        if (command === "WHO") return bulk(name)
        if (command === "ROLE") return list([bulk(role), ":0\r\n"])
        return undefined
      }),
    options
  )

/** A port on which nothing listens. */
export const closedPort = Effect.scoped(Effect.map(FakeServer.make(), ({ port }) => port))

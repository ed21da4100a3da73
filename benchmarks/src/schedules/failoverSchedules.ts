/** The faults of a group under Sentinels, and what its clients are told before. */
import { FakeServer, RedisSentinel, type RedisServer } from "@relive/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import dns from "node:dns"
import net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import type { Place } from "./failoverClients.ts"

export type Group = RedisSentinel.RedisSentinel

/** The group by which a run is judged, and the moment from which a client can know of it. */
export interface Agreed {
  readonly at: number
  /** The group that is there then; the one of before where there is no other. */
  readonly group?: Group
}

export interface Schedule {
  readonly options?: RedisSentinel.Options
  /** Before the client is there. */
  readonly prepare?: (group: Group) => Promise<void>
  /** The Sentinels that the client is told. The scope is that of the run. */
  readonly sentinels?: (group: Group, scope: Scope.Scope) => Promise<ReadonlyArray<Place>>
  /** Resolves when the Sentinels agree on a primary. */
  readonly fault: (group: Group, scope: Scope.Scope) => Promise<Agreed>
  /** The worker moves jobs instead of popping them. */
  readonly moves?: boolean
}

export const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect)

const switched = async (group: Group, from = group.primary): Promise<Agreed> => {
  await run(group.awaitSwitch(from))
  return { at: performance.now() }
}

const cutClients = async (server: RedisServer.RedisServer): Promise<void> => {
  await run(Effect.ignore(server.command(["CLIENT", "KILL", "TYPE", "normal"])))
}

const firstOf = <A>(all: ReadonlyArray<A>): A => {
  const [first] = all
  if (first === undefined) throw new Error("none")
  return first
}

/** A planned switch, and the old primary a replica of the new one at once. */
const switchedOver = async (group: Group): Promise<Agreed> => {
  const elected = await run(group.failover)
  const agreed = { at: performance.now() }
  await run(group.primary.command(["REPLICAOF", elected.host, elected.port]))
  return agreed
}

// ------------------------------------------------------------------------------------------------------------ Sentinels

const { bulk } = FakeServer

const list = (texts: ReadonlyArray<string>): string => `*${texts.length}\r\n${texts.join("")}`

/** A Sentinel that will name this server for ever, and knows of nothing else, in either protocol. */
const stale = ({ host, port }: Place, group: string): FakeServer.Script => {
  const fields = { name: group, ip: host, port: String(port), flags: "master", "config-epoch": "0" }
  const texts = Object.entries(fields).flat().map(bulk)
  return (connection) => {
    let isNew = false
    const replyOf = (what: string): string => {
      if (what === "get-master-addr-by-name") return list([bulk(host), bulk(String(port))])
      if (what === "master") return isNew ? `%${texts.length / 2}\r\n${texts.join("")}` : list(texts)
      return what === "myid" ? bulk("0".repeat(40)) : "*0\r\n"
    }
    const sentinel: FakeServer.Handler = ([name = "", what = ""]) => {
      if (/^HELLO$/i.test(name)) isNew = what === "3"
      if (/^P?SUBSCRIBE$/i.test(name)) {
        return `${isNew ? ">" : "*"}3\r\n${bulk(name.toLowerCase())}${bulk(what)}:1\r\n`
      }
      return /^SENTINEL$/i.test(name) ? replyOf(what.toLowerCase()) : undefined
    }
    const others: FakeServer.Handler = ([name = ""]) =>
      /^PING$/i.test(name) ? "+PONG\r\n" : "-ERR unknown command\r\n"
    return connection.serve(sentinel, FakeServer.handshake, others)
  }
}

/** Lets names lead to the Sentinels of a group, at this address. */
type Lead = (to: Group, address: string) => Promise<void>

/** The names of the Sentinels of a group, for everybody in this process, with forwarders where they lead. */
const names = async (group: Group, scope: Scope.Scope): Promise<Lead> => {
  const addresses = new Map<string, string>()
  const { lookup } = dns
  const resolve = (name: string): string => addresses.get(name) ?? name
  Object.assign(dns, {
    lookup: (name: string, ...rest: ReadonlyArray<unknown>) => Reflect.apply(lookup, dns, [resolve(name), ...rest])
  })
  const open: Array<net.Server> = []
  const sockets = new Set<net.Socket>()
  const close = () => {
    for (const server of open.splice(0)) server.close()
    for (const socket of sockets) socket.destroy()
  }
  const forward = (address: string, from: number, to: number) =>
    new Promise<void>((resolved) => {
      const server = net.createServer((inner) => {
        const outer = net.connect(to, "127.0.0.1")
        for (const socket of [inner, outer]) {
          sockets.add(socket)
          socket.on("error", () => {}).on("close", () => (inner.destroy(), outer.destroy(), sockets.delete(socket)))
        }
        inner.pipe(outer).pipe(inner)
      })
      open.push(server)
      server.listen(from, address, resolved)
    })
  await run(
    Scope.addFinalizer(
      scope,
      Effect.sync(() => (close(), Object.assign(dns, { lookup })))
    )
  )
  return async (to, address) => {
    close()
    for (const [index, { port }] of group.sentinels.entries()) {
      await forward(address, port, to.sentinels[index]?.port ?? 0)
      addresses.set(`sentinel-${index}.test`, address)
    }
  }
}

/** Those of the present run. */
let lead: Lead = () => Promise.reject(new Error("no names"))

// ------------------------------------------------------------------------------------------------------------ schedules

export const schedules: Readonly<Record<string, Schedule>> = {
  /** The primary dies. */
  kill: {
    fault: async (group) => {
      await run(group.primary.kill)
      return switched(group)
    }
  },
  /** The primary stands still for eight seconds, and wakes as a primary. */
  pause: {
    fault: async (group) => {
      await run(group.primary.pause)
      const agreed = await switched(group)
      await sleep(Math.max(0, 8_000 - 2_500))
      await run(group.primary.resume)
      return agreed
    }
  },
  /** `SENTINEL FAILOVER`: the old primary stays, and takes writes for ten seconds more. */
  manual: {
    fault: async (group) => {
      await run(group.failover)
      return { at: performance.now() }
    }
  },
  /**
   * The same, while the connections of subscribers to the leader of the failover are cut again and again: so each client asks it in
   * the second in which it describes the old primary beside the new epoch.
   */
  leader: {
    fault: async (group) => {
      const leader = firstOf(group.sentinels)
      let isOver = false
      const cutting = (async () => {
        while (!isOver) {
          await run(Effect.ignore(leader.command(["CLIENT", "KILL", "TYPE", "pubsub"])))
          await sleep(40)
        }
      })()
      await run(group.failover)
      isOver = true
      await cutting
      return { at: performance.now() }
    }
  },
  /** Somebody makes a replica the primary by hand: the old one stays up as its replica. */
  demoted: {
    fault: async (group) => {
      const [promoted, ...others] = group.replicas
      if (promoted === undefined) throw new Error("no replica")
      await run(promoted.command(["REPLICAOF", "NO", "ONE"]))
      for (const other of [group.primary, ...others]) {
        await run(other.command(["REPLICAOF", promoted.host, promoted.port]))
      }
      return switched(group)
    }
  },
  /** A planned switch. The old primary stays up as a replica, with a worker that waits there in `BLMOVE`. */
  busy: { moves: true, fault: switchedOver },
  /** The first Sentinel stands still while there is a failover, and goes on after it. */
  mute: {
    fault: async (group) => {
      const first = firstOf(group.sentinels)
      await run(first.pause)
      await run(group.primary.kill)
      const agreed = await switched(group)
      await sleep(1_500)
      await run(first.resume)
      return agreed
    }
  },
  /** The first Sentinel dies, and then the primary. */
  lost: {
    fault: async (group) => {
      await run(firstOf(group.sentinels).kill)
      await run(group.primary.kill)
      return switched(group)
    }
  },
  /** The first Sentinel is one of the past: it names what is a replica now. All connections to the primary are cut. */
  stale: {
    prepare: async (group) => {
      await switchedOver(group)
    },
    sentinels: async (group, scope) => {
      const fake = await run(Scope.provide(FakeServer.make(stale(group.primary, group.group)), scope))
      return [fake, ...group.sentinels]
    },
    fault: async (group) => {
      await cutClients(await run(group.currentPrimary))
      return { at: performance.now() }
    }
  },
  /** All Sentinels are away while the connections to the primary are cut; then they are back. */
  sentinels: {
    fault: async (group) => {
      for (const sentinel of group.sentinels) await run(sentinel.stop)
      await cutClients(group.primary)
      await sleep(1_000)
      for (const sentinel of group.sentinels) await run(sentinel.start)
      return { at: performance.now() }
    }
  },
  /**
   * Servers and Sentinels are replaced, all at once, as when everything is moved: the names of the Sentinels lead to other
   * addresses, the servers have others, and the new Sentinels count their epochs from 0.
   */
  addresses: {
    prepare: async (group) => {
      await switchedOver(group)
    },
    sentinels: async (group, scope) => {
      lead = await names(group, scope)
      await lead(group, "127.0.0.2")
      return group.sentinels.map(({ port }, index) => ({ host: `sentinel-${index}.test`, port }))
    },
    fault: async (group, scope) => {
      const next = await run(Scope.provide(RedisSentinel.make({ replicas: 1 }), scope))
      for (const server of [...group.sentinels, group.primary, ...group.replicas]) await run(server.kill)
      await lead(next, "127.0.0.3")
      return { at: performance.now(), group: next }
    }
  },
  /** A planned switch. The new primary starts again when it is named, and loads for a while. */
  loading: {
    // Asked for at each key, so that it replies that it is loading.
    options: { config: { "key-load-delay": 3_000, "loading-process-events-interval-bytes": 1_024 } },
    prepare: async (group) => {
      const keys = Array.from({ length: 400 }, (_, index) => ["SET", `filler:${index}`, "x".repeat(1_024)])
      await run(group.primary.commands(keys))
      await run(group.synced)
    },
    fault: async (group) => {
      const elected = await run(group.failover)
      await run(elected.command(["CONFIG", "SET", "save", "3600 1"]))
      await run(elected.stop)
      await run(elected.start)
      return { at: performance.now() }
    }
  }
}

/** The epoch of the configuration of a group, as most of its Sentinels know it. */
export const epochOf = async (group: Group): Promise<number> => {
  const epochs = await Promise.all(
    group.sentinels.map(async (sentinel) => {
      const asked = Effect.exit(sentinel.command(["SENTINEL", "MASTER", group.group]))
      const exit = await Promise.race([run(asked), sleep(500)])
      const reply = exit !== undefined && Exit.isSuccess(exit) ? exit.value : []
      const fields = Array.isArray(reply) ? reply : []
      return Number(fields[fields.indexOf("config-epoch") + 1] ?? -1)
    })
  )
  return epochs.toSorted((a, b) => b - a)[Math.floor(epochs.length / 2)] ?? -1
}

/**
 * The clients that the cluster soak can drive, behind one small interface. A failed call tells what its client says of it:
 * whether it can have run.
 */
import { RedisCluster } from "@relive/cluster"
import { RedisError, Resp } from "@relive/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

export type Text = string | number

/** Shorter than the second for which servers say that the cluster is down. */
const IMPATIENT_MILLIS = 300

/** The outcome of one command. */
export type Outcome =
  | { readonly _tag: "Ok"; readonly reply: unknown }
  /** `ran`: what the client says, `"no"` for what a server has refused, `undefined` when it says nothing. */
  | { readonly _tag: "Failed"; readonly message: string; readonly ran: "no" | "unsent" | "unknown" | undefined }

export interface Client {
  readonly command: (args: ReadonlyArray<Text>) => Promise<Outcome>
  readonly pipeline: (commands: ReadonlyArray<ReadonlyArray<Text>>) => Promise<ReadonlyArray<Outcome>>
  readonly multi: (commands: ReadonlyArray<ReadonlyArray<Text>>) => Promise<Outcome>
  /** The same as `command`, with so little time that it can end while servers refuse it. Only where a call can have a deadline. */
  readonly impatient?: (args: ReadonlyArray<Text>) => Promise<Outcome>
  readonly close: () => Promise<void>
}

export interface Target {
  readonly nodes: ReadonlyArray<{ readonly host: string; readonly port: number }>
  /** From announced addresses to those to dial, where there are proxies. */
  readonly map: Readonly<Record<string, { readonly host: string; readonly port: number }>>
  readonly replicas: boolean
}

export type ClientName = "relive" | "ioredis" | "node-redis"

// ------------------------------------------------------------------------------------------------------------ relive

const lost = (reply: unknown): Outcome => {
  if (reply instanceof RedisError.ConnectionError || reply instanceof RedisError.TimeoutError) {
    return { _tag: "Failed", message: reply.message, ran: reply.delivery }
  }
  if (reply instanceof RedisError.ClusterError) return { _tag: "Failed", message: reply.message, ran: "no" }
  if (reply instanceof Resp.ReplyError) {
    const isCluster = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN|CROSSSLOT|LOADING)$/.test(reply.code)
    return { _tag: "Failed", message: reply.message, ran: isCluster ? "no" : undefined }
  }
  if (reply instanceof RedisError.TransactionAborted) return { _tag: "Failed", message: reply.message, ran: "no" }
  return { _tag: "Ok", reply }
}

const makeRelive = async ({ map, nodes, replicas }: Target): Promise<Client> => {
  const scope = Scope.makeUnsafe()
  const { service } = await Effect.runPromise(
    Scope.provide(
      RedisCluster.make({
        nodes: nodes.map(({ host, port }) => ({ host, port })),
        mapAddress: map,
        start: "await",
        readFrom: replicas ? "preferReplica" : "primary"
      }),
      scope
    )
  )
  const run = async <A>(effect: Effect.Effect<A, RedisError.RedisError>): Promise<Outcome> => {
    const exit = await Effect.runPromiseExit(effect)
    if (Exit.isSuccess(exit)) return { _tag: "Ok", reply: exit.value }
    const [failed] = exit.cause.reasons
    if (failed?._tag !== "Fail") return { _tag: "Failed", message: String(exit.cause), ran: undefined }
    return lost(failed.error.reason)
  }
  return {
    command: (args) => run(service.command(args)),
    impatient: (args) => run(service.command(args, { timeout: IMPATIENT_MILLIS })),
    pipeline: async (commands) => {
      const all = await run(service.pipeline(commands))
      if (all._tag === "Failed") return commands.map(() => all)
      return (all.reply as ReadonlyArray<unknown>).map(lost)
    },
    multi: (commands) => run(service.transaction(commands)),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

// ----------------------------------------------------------------------------------------------------------- ioredis

const failed = (error: unknown): Outcome => {
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  const isRefusal = /^(ReplyError: )?(\w+: )?(MOVED|ASK|TRYAGAIN|CLUSTERDOWN|CROSSSLOT|EXECABORT|LOADING)/.test(message)
  return { _tag: "Failed", message, ran: isRefusal ? "no" : undefined }
}

const settled = (promise: Promise<unknown>): Promise<Outcome> =>
  promise.then((reply): Outcome => ({ _tag: "Ok", reply }), failed)

const makeIoredis = async ({ map, nodes, replicas }: Target): Promise<Client> => {
  const { Cluster } = await import("ioredis")
  const cluster = new Cluster([...nodes], { natMap: { ...map }, scaleReads: replicas ? "slave" : "master" })
  cluster.on("error", () => {})
  await new Promise<void>((resolve) => cluster.once("ready", () => resolve()))
  return {
    command: ([name, ...args]) => settled(cluster.call(String(name), ...args.map(String))),
    // Its pipelines must be of one slot, so these are commands that are sent together.
    pipeline: (commands) =>
      Promise.all(commands.map(([name, ...args]) => settled(cluster.call(String(name), ...args.map(String))))),
    multi: async (commands) => {
      const multi = cluster.multi()
      for (const [name, ...args] of commands) multi.call(String(name), ...args.map(String))
      const outcome = await settled(multi.exec())
      if (outcome._tag === "Failed" || !Array.isArray(outcome.reply)) return outcome
      const wrong = outcome.reply.find((element) => Array.isArray(element) && element[0] !== null)
      return Array.isArray(wrong) ? failed(wrong[0]) : outcome
    },
    close: async () => cluster.disconnect()
  }
}

// -------------------------------------------------------------------------------------------------------- node-redis

const makeNodeRedis = async ({ map, nodes, replicas }: Target): Promise<Client> => {
  const { createCluster } = await import("redis")
  const cluster = createCluster({
    rootNodes: nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` })),
    nodeAddressMap: { ...map },
    useReplicas: replicas
  })
  cluster.on("error", () => {})
  await cluster.connect()
  const send = (command: ReadonlyArray<Text>) => {
    const [name, key] = command.map(String)
    return settled(cluster.sendCommand(key, name === "GET" || name === "MGET", command.map(String)))
  }
  return {
    command: send,
    pipeline: (commands) => Promise.all(commands.map(send)),
    multi: async (commands) => {
      const multi = cluster.multi()
      for (const command of commands) multi.addCommand(String(command[1]), false, command.map(String))
      return settled(multi.exec())
    },
    close: async () => cluster.destroy()
  }
}

export const makeClient = (name: ClientName, target: Target): Promise<Client> =>
  name === "relive" ? makeRelive(target) : name === "ioredis" ? makeIoredis(target) : makeNodeRedis(target)

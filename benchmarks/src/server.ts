/** The one server that all clients talk to, and a connection to it for set-up and accounting. */
import { spawn, type ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { connect as connectSocket, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve, sep } from "node:path"
import { createClient } from "redis"
import type { Target } from "./clients/client.ts"
import { serverPrefix, type Surroundings } from "./surroundings.ts"
import type { Seed } from "./workloads.ts"

const HOST = "127.0.0.1"
const READY_MILLISECONDS = 10_000

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once("error", reject)
    probe.listen(0, HOST, () => {
      const address = probe.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      probe.close(() => resolve(port))
    })
  })

/** The server's program: what the environment names (a path counts from where the person stood), or what is installed. */
const programs = (): ReadonlyArray<string> => {
  const named = process.env.RELIVE_REDIS_SERVER
  if (named === undefined || named === "") return ["redis-server", "valkey-server"]
  return [named.includes(sep) ? resolve(process.env.INIT_CWD ?? process.cwd(), named) : named]
}

const started = (child: ChildProcess): Promise<boolean> =>
  new Promise((resolve) => {
    child.once("spawn", () => resolve(true))
    child.once("error", () => resolve(false))
  })

/** Starts a server that keeps nothing on disk. */
const start = async (folder: string, port: number, where: Surroundings): Promise<ChildProcess> => {
  const args = ["--port", String(port), "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", folder]
  const commands = programs()
  for (const command of commands) {
    const [program = command, ...before] = [...serverPrefix(where), command]
    const child = spawn(program, [...before, ...args, "--daemonize", "no", "--maxclients", "20000"], {
      stdio: "ignore"
    })
    if (await started(child)) return child
  }
  throw new Error(
    `no server: ${commands.join(" and ")} could not be started. Install redis-server or valkey-server, or set RELIVE_REDIS_SERVER to its path`
  )
}

const connect = async (child: ChildProcess, port: number) => {
  const end = performance.now() + READY_MILLISECONDS
  for (;;) {
    const client = createClient({ socket: { host: HOST, port, reconnectStrategy: false } })
    client.on("error", () => {})
    try {
      await client.connect()
      return client
    } catch (error) {
      client.destroy()
      if (child.exitCode !== null) throw new Error(`the server ended with code ${child.exitCode}`, { cause: error })
      if (performance.now() > end) throw new Error("the server does not answer", { cause: error })
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/** A server of our own, on a free port. */
export class Server {
  readonly target: Target
  readonly version: string
  readonly #child: ChildProcess
  readonly #client: Awaited<ReturnType<typeof connect>>
  readonly #folder: string

  private constructor(
    target: Target,
    version: string,
    child: ChildProcess,
    client: Awaited<ReturnType<typeof connect>>,
    folder: string
  ) {
    this.target = target
    this.version = version
    this.#child = child
    this.#client = client
    this.#folder = folder
  }

  static async start(where: Surroundings = "as-it-is"): Promise<Server> {
    const folder = mkdtempSync(join(tmpdir(), "relive-bench-"))
    const port = await freePort()
    let child: ChildProcess | undefined
    try {
      child = await start(folder, port, where)
      const client = await connect(child, port)
      const info = await client.info("server")
      const version = /^(valkey|redis)_version:(\S+)/m.exec(info)
      const name = version === null ? "unknown" : `${version[1]} ${version[2]}`
      return new Server({ host: HOST, port }, name, child, client, folder)
    } catch (error) {
      child?.kill("SIGKILL")
      rmSync(folder, { recursive: true, force: true })
      throw error
    }
  }

  async seed(seeds: ReadonlyArray<Seed>): Promise<void> {
    const batch = this.#client.multi()
    for (const seed of seeds) {
      if (seed.type === "string") batch.set(seed.key, seed.value)
      else {
        batch.del(seed.key)
        if (seed.type === "list") batch.rPush(seed.key, [...seed.values])
        else batch.hSet(seed.key, seed.entries.flat())
      }
    }
    if (seeds.length > 0) await batch.execAsPipeline()
  }

  async remove(keys: ReadonlyArray<string>): Promise<void> {
    if (keys.length > 0) await this.#client.del([...keys])
  }

  async read(keys: ReadonlyArray<string>): Promise<ReadonlyArray<string | null>> {
    return keys.length === 0 ? [] : this.#client.mGet([...keys])
  }

  /** Publishes numbers from 0 on, of 16 bytes each, as fast as the server takes them; resolves when it has taken them. */
  async publish(channel: string, messages: number): Promise<void> {
    const command = (n: number) => {
      const payload = String(n).padStart(16, "0")
      return `*3\r\n$7\r\nPUBLISH\r\n$${channel.length}\r\n${channel}\r\n$16\r\n${payload}\r\n`
    }
    const bytes = Buffer.from(Array.from({ length: messages }, (_, n) => command(n)).join(""))
    const socket = connectSocket({ host: this.target.host, port: this.target.port, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      let replies = 0
      socket.once("error", reject)
      socket.on("data", (chunk) => {
        for (const byte of chunk) if (byte === 0x3a) replies++
        if (replies === messages) resolve()
      })
      socket.write(bytes)
    })
    socket.destroy()
  }

  /** CPU time of the server so far, user and system, in microseconds. */
  async cpuMicros(): Promise<number> {
    const info = await this.#client.info("cpu")
    const field = (name: string) => Number(new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1])
    return (field("used_cpu_user") + field("used_cpu_sys")) * 1e6
  }

  /** The ids of all connections but our own. */
  async connectionIds(): Promise<ReadonlyArray<string>> {
    const own = String(await this.#client.clientId())
    const list = await this.#client.sendCommand(["CLIENT", "LIST"])
    return [...String(list).matchAll(/^id=(\d+)/gm)].map((match) => match[1] ?? "").filter((id) => id !== own)
  }

  async killConnections(ids: ReadonlyArray<string>): Promise<void> {
    await Promise.all(ids.map((id) => this.#client.sendCommand(["CLIENT", "KILL", "ID", id])))
  }

  async stop(): Promise<void> {
    this.#client.destroy()
    const gone = new Promise((resolve) => this.#child.once("exit", resolve))
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGKILL")
      await gone
    }
    this.kill()
  }

  /** Ends the server at once, and with it its folder; its data are worth nothing. */
  kill(): void {
    this.#child.kill("SIGKILL")
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

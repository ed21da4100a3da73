/**
 * A real server for a moment, for scripts that check examples. Plain Node: what is checked may be the testing package.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

const freePort = async (): Promise<number> => {
  const server = Net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  if (address === null || typeof address === "string") throw new Error("no port was given")
  return address.port
}

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = Net.connect(port, "127.0.0.1", () => socket.write("PING\r\n"))
    const settle = (value: boolean) => {
      socket.destroy()
      resolve(value)
    }
    socket.once("data", (chunk) => settle(String(chunk).startsWith("+PONG")))
    socket.once("error", () => settle(false))
  })

const untilReady = async (server: ChildProcess, port: number) => {
  while (!(await answers(port))) {
    if (server.exitCode !== null) throw new Error(`the server ended with exit code ${server.exitCode}`)
    await sleep(20)
  }
}

/** Runs `body` with the URL of a fresh server, which ends with it. The binary is the one in `RELIVE_REDIS_SERVER`. */
export const withServer = async <A>(body: (url: string) => Promise<A>): Promise<A> => {
  const port = await freePort()
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "relive-"))
  const binary = process.env.RELIVE_REDIS_SERVER ?? "redis-server"
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
  const server = spawn(binary, args, { stdio: "ignore" })
  const ended = once(server, "exit")
  try {
    await untilReady(server, port)
    return await body(`redis://127.0.0.1:${port}`)
  } finally {
    server.kill("SIGKILL")
    await ended
    Fs.rmSync(folder, { recursive: true, force: true })
  }
}

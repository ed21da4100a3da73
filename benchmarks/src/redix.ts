/**
 * Redix's pool of names in a process of its own, for `poolFaults.ts`. It needs Elixir on the `PATH` and in `RELIVE_REDIX` the
 * folder of Redix, compiled together with what it depends on (`elixirc -o FOLDER …`).
 */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"

type Settle = (answer: string) => void

/** The folder of the compiled Redix, where there is one. */
export const redixFolder = process.env.RELIVE_REDIX

/** Starts it; fails when it does not come up. `timeout` of a call in milliseconds, else Redix's own. */
export const openRedix = async (folder: string, host: string, port: number) => {
  const script = join(import.meta.dirname, "redixPool.exs")
  const child = spawn("elixir", ["-pa", folder, script, host, String(port)], { stdio: ["pipe", "pipe", "ignore"] })
  const waiting = new Map<string, Settle>()
  let ready: Settle = () => {}
  let next = 0
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line === "ready") return ready(line)
    const [id = "", ...rest] = line.split(" ")
    waiting.get(id)?.(rest.join(" "))
    waiting.delete(id)
  })
  process.once("exit", () => child.kill("SIGKILL"))
  await new Promise<string>((resolve, reject) => {
    ready = resolve
    child.once("error", reject)
    child.once("exit", (code) => reject(new Error(`Redix has ended with ${code}`)))
  })
  const call = (args: ReadonlyArray<string>, timeout: number | undefined): Promise<string> =>
    new Promise((resolve, reject) => {
      const id = String(next++)
      waiting.set(id, (answer) => {
        const text = answer.slice(answer.indexOf(" ") + 1)
        if (answer.startsWith("ok ")) resolve(text)
        else reject(new Error(text))
      })
      child.stdin.write(`${id} ${timeout ?? "-"} ${args.join(" ")}\n`)
    })
  return { call, close: async () => void child.kill("SIGKILL") }
}

/** A client's process, seen from the main process. */
import { fork, type ChildProcess } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Unsupported } from "./calls.ts"
import type { AnyName } from "./clients/client.ts"
import type { Methods, Request, Response } from "./protocol.ts"
import { clientExec, type Surroundings } from "./surroundings.ts"

const PATIENCE_MILLISECONDS = 60_000

/**
 * node-redis leaves one abort timer of 5 s per command behind; that many going off would take the processor away from
 * whoever is measured then.
 */
const lingering: ReadonlySet<AnyName> = new Set(["node-redis"])

interface Question {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

/** A running client. A call fails when the process ends or does not reply in time. */
export class Remote {
  readonly name: AnyName
  readonly where: Surroundings
  readonly #child: ChildProcess
  readonly #questions = new Map<number, Question>()
  #id = 0

  constructor(name: AnyName, where: Surroundings = "as-it-is") {
    this.name = name
    this.where = where
    const { before, execPath } = clientExec(where)
    this.#child = fork(fileURLToPath(new URL("worker.ts", import.meta.url)), {
      execPath,
      execArgv: [...before, "--expose-gc"],
      // The log of a client must not mix with the report. The reason of its death should be seen.
      stdio: ["ignore", "ignore", 2, "ipc"]
    })
    this.#child.on("message", (response: Response) => this.#settle(response))
    this.#child.on("exit", (code, signal) => this.#fail(new Error(`${name}: the process ended (${code ?? signal})`)))
  }

  /** Asks and waits for the reply. */
  call<M extends keyof Methods>(
    method: M,
    params: Parameters<Methods[M]>[0]
  ): Promise<Awaited<ReturnType<Methods[M]>>> {
    const id = ++this.#id
    const request: Request = { id, method, params }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(new Error(`${this.name}: no answer to ${method} within ${PATIENCE_MILLISECONDS / 1000} s`))
        this.kill()
      }, PATIENCE_MILLISECONDS)
      // The worker is typed by the same interface: its result belongs to the method.
      this.#questions.set(id, { resolve: resolve as (result: unknown) => void, reject, timer })
      if (this.#child.connected) this.#child.send(request)
      else this.#fail(new Error(`${this.name}: the process is gone`))
    })
  }

  /**
   * Stops a process that would go on working between its rounds, until {@link resume}. Only where it is needed: a
   * client that looks after its connection may take a stopped clock for a dead server.
   */
  pause(): void {
    if (this.#lingers) this.#child.kill("SIGSTOP")
  }

  /** Undoes {@link pause}. */
  resume(): void {
    if (this.#lingers) this.#child.kill("SIGCONT")
  }

  /** A process that is traced must not be stopped: its tracer would see to it for ever. */
  get #lingers(): boolean {
    return lingering.has(this.name) && this.where !== "dear-system-calls"
  }

  /** Ends the process and waits until it has gone. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.resume()
    const gone = new Promise((resolve) => this.#child.once("exit", resolve))
    await Promise.race([this.call("close", {}).catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2000))])
    this.kill()
    await gone
  }

  /** Ends the process at once. One that is traced outlives its tracer, but not the channel. */
  kill(): void {
    if (this.#child.connected) this.#child.disconnect()
    this.#child.kill("SIGKILL")
  }

  #settle(response: Response): void {
    const question = this.#questions.get(response.id)
    if (question === undefined) return
    this.#questions.delete(response.id)
    clearTimeout(question.timer)
    if (response.error === undefined) question.resolve(response.result)
    else question.reject(new (response.unsupported === true ? Unsupported : Error)(`${this.name}: ${response.error}`))
  }

  #fail(error: Error): void {
    for (const question of this.#questions.values()) {
      clearTimeout(question.timer)
      question.reject(error)
    }
    this.#questions.clear()
  }
}

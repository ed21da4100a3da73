/** The same program on Node, Bun and Deno, as their npm packages carry them: it does what it should, and ends by itself. */
import { RedisServer } from "@relive/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"

const root = Path.resolve(import.meta.dirname, "../../../..")
const program = Path.join(import.meta.dirname, "program.ts")

/** The program of a runtime that is installed for this machine. */
const find = (...files: ReadonlyArray<string>): string | undefined =>
  files.map((file) => Path.join(root, "node_modules", file)).find((file) => Fs.existsSync(file))

const runtimes: Readonly<Record<string, readonly [file: string | undefined, args: ReadonlyArray<string>]>> = {
  Node: [process.execPath, []],
  Bun: [find("@oven/bun-linux-x64/bin/bun", "@oven/bun-linux-aarch64/bin/bun"), ["run"]],
  Deno: [find("@deno/linux-x64-glibc/deno", "@deno/linux-arm64-glibc/deno"), ["run", "--allow-all", "--no-check"]]
}

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly millis: number
}

const run = (file: string, args: ReadonlyArray<string>, env: Record<string, string>) =>
  Effect.promise(
    () =>
      new Promise<Ended>((resolve) => {
        const began = performance.now()
        const child = spawn(file, args, { cwd: Path.dirname(program), env: { ...process.env, ...env } })
        let stdout = ""
        let stderr = ""
        child.stdout.on("data", (data: Buffer) => (stdout += data.toString()))
        child.stderr.on("data", (data: Buffer) => (stderr += data.toString()))
        const limit = setTimeout(() => child.kill("SIGKILL"), 40_000)
        child.on("close", (code) => {
          clearTimeout(limit)
          resolve({ code, stdout, stderr, millis: performance.now() - began })
        })
      })
  )

describe("a program on another runtime", () => {
  for (const [name, [file, args]] of Object.entries(runtimes)) {
    it.live.skipIf(file === undefined)(`works on ${name}, and ends by itself`, () =>
      Effect.gen(function* () {
        const plain = yield* RedisServer.make({ unixSocket: true })
        const secure = yield* RedisServer.make({ tls: true })
        const ended = yield* run(file ?? "", [...args, program], {
          REDIS_URL: plain.url,
          REDIS_SOCKET: plain.path ?? "",
          REDIS_TLS_URL: secure.url,
          REDIS_CA: secure.tls?.ca ?? ""
        })
        const expected =
          "commands, large values, blocking pops, pub/sub, a killed connection, close, TLS, a Unix socket".split(", ")
        const lines = ended.stdout.split("\n").filter((line) => expected.includes(line))
        assert.deepStrictEqual(lines, expected, ended.stderr + ended.stdout)
        assert.strictEqual(ended.code, 0, ended.stderr)
        const clients = String(yield* plain.command(["CLIENT", "LIST"]))
          .trim()
          .split("\n")
        assert.strictEqual(clients.length, 1)
      }).pipe(Effect.scoped)
    )
  }
})

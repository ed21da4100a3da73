/**
 * The bootstrap, as a user meets it: a copy of it in a small workspace of its own that counts as set up.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { wanted } from "../lib/install.cjs"
import { root } from "../lib/workspace.ts"

const scratch = Fs.realpathSync(Fs.mkdtempSync(Path.join(Os.tmpdir(), "relive-boot-")))
const clone = Path.join(scratch, "clone")

const write = (file: string, text: string, mode = 0o644) => {
  Fs.mkdirSync(Path.dirname(Path.join(clone, file)), { recursive: true })
  Fs.writeFileSync(Path.join(clone, file), text, { mode })
}

/** Says what it got, then does what its last argument says. */
const program = `
  console.log(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd(), server: process.env.RELIVE_REDIS_SERVER }))
  const act = process.argv.at(-1)
  if (act === "fail") process.exitCode = 7
  if (act === "wait") setTimeout(() => {}, 60_000)
  if (act === "leave") {
    const { spawn } = await import("node:child_process")
    const child = spawn(process.execPath, ["-e", "console.log(process.pid); setTimeout(() => {}, 60_000)"], {
      detached: true,
      stdio: ["ignore", "inherit", "ignore"]
    })
    child.unref()
  }
`

beforeAll(() => {
  Fs.mkdirSync(clone)
  Fs.cpSync(Path.join(root, "scripts"), Path.join(clone, "scripts"), { recursive: true })
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml"]) Fs.cpSync(Path.join(root, file), Path.join(clone, file))
  const node = `node_modules/node-${process.platform}-${process.arch}`
  Fs.mkdirSync(Path.join(clone, "node_modules"))
  if (Fs.existsSync(Path.join(root, node))) Fs.symlinkSync(Path.join(root, node), Path.join(clone, node))
  write("package.json", `{ "type": "module" }`)
  write("node_modules/.relive-stamp", wanted(clone))
  write("packages/core/conformance/resp.ts", program)
  write("examples/demo.ts", program)
  write("bin/redis-server", `#!/bin/sh\necho "Redis server v=7.0.0"\n`, 0o755)
  write("broken/redis-server", `#!/bin/sh\nexit 1\n`, 0o755)
})
afterAll(() => Fs.rmSync(scratch, { recursive: true, force: true }))

const start = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
  const { INIT_CWD: _, RELIVE_REDIS_SERVER: __, ...inherited } = process.env
  return spawn(process.execPath, [Path.join(clone, "scripts/boot.cjs"), ...args], {
    cwd: clone,
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
}

const outcome = async (child: ChildProcess) => {
  let stdout = ""
  let stderr = ""
  child.stdout?.on("data", (chunk) => (stdout += String(chunk)))
  child.stderr?.on("data", (chunk) => (stderr += String(chunk)))
  await once(child, "close")
  return { code: child.exitCode, stdout, stderr }
}
const boot = (args: ReadonlyArray<string>, env?: NodeJS.ProcessEnv) => outcome(start(args, env))

/** A zombie, which its new parent may let lie for long, has ended. */
const isAlive = (pid: number) =>
  Fs.existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(Fs.readFileSync(`/proc/${pid}/stat`, "utf8"))

describe("the bootstrap", () => {
  it("passes arguments verbatim, keeps stdout for the program and runs it where the user stands", async () => {
    const args = ["--json", "--", "a b", "$HOME", `"x"`, ""]
    const { code, stdout, stderr } = await boot(["conformance:resp", ...args], { INIT_CWD: scratch })
    assert.deepStrictEqual(JSON.parse(stdout), { args, cwd: scratch })
    assert.strictEqual(stderr, "")
    assert.strictEqual(code, 0)
  })

  it("ends with the program's exit code", async () => {
    assert.strictEqual((await boot(["conformance:resp", "fail"])).code, 7)
  })

  it("refuses a script that does not exist", async () => {
    for (const name of ["nothing", "constructor", ""]) {
      const { code, stdout, stderr } = await boot([name])
      assert.strictEqual(code, 1)
      assert.strictEqual(stdout, "")
      assert.include(stderr, `there is no script "${name}"`)
    }
  })

  it("finds the server that the user named, and no other", async () => {
    const named = (server: string) => boot(["demo"], { RELIVE_REDIS_SERVER: server, INIT_CWD: clone })
    const { stdout } = await named("bin/redis-server")
    assert.strictEqual(JSON.parse(stdout).server, Path.join(clone, "bin/redis-server"))
    for (const wrong of ["broken/redis-server", "nowhere/redis-server", "bin", "no-such-program"]) {
      const { code, stderr } = await named(wrong)
      assert.strictEqual(code, 1, wrong)
      assert.include(stderr, `RELIVE_REDIS_SERVER is ${wrong}`)
    }
  })

  it("finds a server on the PATH, past one that does not start", async () => {
    const folders = ["broken", "bin"].map((folder) => Path.join(clone, folder))
    const { stdout } = await boot(["demo"], { PATH: [...folders, process.env.PATH].join(":") })
    assert.strictEqual(JSON.parse(stdout).server, Path.join(clone, "bin/redis-server"))
  })

  it("takes the server out of installed tools, which hold it under another name", async () => {
    const PATH = Path.join(clone, "tools")
    write("tools/redis-check-rdb", `#!/bin/sh\necho "Redis server v=7.0.0"\n`, 0o755)
    const { stdout } = await boot(["demo"], { PATH })
    const link = Path.join(clone, ".relive/bin/redis-server")
    assert.strictEqual(JSON.parse(stdout).server, link)
    assert.strictEqual(Fs.realpathSync(link), Path.join(PATH, "redis-check-rdb"))
    Fs.rmSync(link)
  })

  it("says what to do where no server can be had", async () => {
    const { code, stderr } = await boot(["demo"], { PATH: Path.join(clone, "empty") })
    assert.strictEqual(code, 1)
    assert.include(stderr, "a redis-server or valkey-server is needed")
    assert.include(stderr, "RELIVE_REDIS_SERVER=/path/to/redis-server")
  })

  it("passes a signal on to the program and ends with it", async () => {
    for (const [signal, code] of [
      ["SIGTERM", 143],
      ["SIGINT", 130]
    ] as const) {
      const child = start(["conformance:resp", "wait"])
      const ended = outcome(child)
      if (child.stdout !== null) await once(child.stdout, "data")
      child.kill(signal)
      assert.strictEqual((await ended).code, code)
    }
  })

  it.skipIf(process.platform !== "linux")("ends what the program left behind, and says so", async () => {
    const { code, stdout, stderr } = await boot(["conformance:resp", "leave"])
    const pid = Number(stdout.trim().split("\n").at(-1))
    assert.isAbove(pid, 1)
    assert.isFalse(isAlive(pid))
    assert.include(stderr, "left behind")
    assert.strictEqual(code, 0)
  })

  it("waits for a set-up that another process does, and takes over from one that is gone", async () => {
    const stamp = Path.join(clone, "node_modules/.relive-stamp")
    const lock = Path.join(clone, ".relive/setup.lock")
    const content = Fs.readFileSync(stamp)
    Fs.rmSync(stamp)
    write(".relive/setup.lock", String(process.pid))
    const child = start(["conformance:resp"])
    const ended = outcome(child)
    if (child.stderr !== null) await once(child.stderr, "data")
    Fs.writeFileSync(stamp, content)
    Fs.rmSync(lock)
    const { code, stderr } = await ended
    assert.strictEqual(code, 0)
    assert.include(stderr, `waiting for the set-up that process ${process.pid} is doing`)
    assert.isFalse(Fs.existsSync(lock))
  })
})

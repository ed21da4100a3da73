/**
 * Ports that stay ours while nothing listens on them.
 *
 * A server that is stopped and started again must come back on its port. Two things could take it meanwhile: another
 * test that looks for a free port, and the machine itself, which hands out ports of the ephemeral range (from 32768 on
 * Linux) to outgoing connections; a client that dials a closed ephemeral port can even connect to itself. So ports are
 * taken below that range and marked by a lock file that other processes respect.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

const LOWEST = 10_240
const HIGHEST = 32_767
const ATTEMPTS = 200

const lockDirectory = Path.join(Os.tmpdir(), `relive-ports-${process.getuid?.() ?? "user"}`)
const lockFile = (port: number) => Path.join(lockDirectory, String(port))

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM"
  }
}

const createLock = (port: number): boolean => {
  try {
    Fs.writeFileSync(lockFile(port), String(process.pid), { flag: "wx" })
    return true
  } catch {
    return false
  }
}

/** Removes the lock of a process that ended without cleaning up. A lock being written right now reads as empty. */
const removeStaleLock = (port: number): void => {
  try {
    const owner = Number(Fs.readFileSync(lockFile(port), "utf8"))
    if (owner > 0 && !isAlive(owner)) Fs.rmSync(lockFile(port), { force: true })
  } catch {
    // The owner removed it between the two calls.
  }
}

const lock = (port: number): boolean => {
  if (createLock(port)) return true
  removeStaleLock(port)
  return createLock(port)
}

const unlock = (port: number): void => Fs.rmSync(lockFile(port), { force: true })

const canListen = (port: number, host: string): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const probe = Net.createServer()
    probe.once("error", () => resume(Effect.succeed(false)))
    probe.listen(port, host, () => probe.close(() => resume(Effect.succeed(true))))
  })

const tryReserve = (host: string): Effect.Effect<number | undefined> =>
  Effect.suspend(() => {
    const port = Crypto.randomInt(LOWEST, HIGHEST + 1)
    if (!lock(port)) return Effect.succeed(undefined)
    return Effect.map(canListen(port, host), (free) => {
      if (free) return port
      unlock(port)
      return undefined
    })
  })

/** Reserves a port of `host` on which nothing listens, until the scope closes. */
export const reserve = (host: string): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      Fs.mkdirSync(lockDirectory, { recursive: true })
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const port = yield* tryReserve(host)
        if (port !== undefined) return port
      }
      return yield* Effect.die(new Error(`No free port on ${host} between ${LOWEST} and ${HIGHEST}`))
    }),
    (port) => Effect.sync(() => unlock(port))
  )

/**
 * A directory of a scope's own, readable by its owner alone.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const directories = new Set<string>()
// For a process that exits without closing its scopes.
process.once("exit", () => {
  for (const directory of directories) Fs.rmSync(directory, { recursive: true, force: true })
})

/** Makes a directory and removes it with all in it when the scope closes. */
export const make: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => {
    const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "relive-"))
    directories.add(directory)
    return directory
  }),
  (directory) =>
    Effect.promise(async () => {
      // A forked child of a killed server may still write a file meanwhile: hence the retries.
      await Fs.promises.rm(directory, { recursive: true, force: true, maxRetries: 10 })
      directories.delete(directory)
    })
)

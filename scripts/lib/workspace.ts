/**
 * The workspace as the scripts see it.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"

/** The folder of the workspace. */
export const root = Path.resolve(import.meta.dirname, "..", "..")

/** A package that is published. */
export interface Package {
  readonly name: string
  /** Its folder, from the root. */
  readonly folder: string
}

const isPublic = (manifest: unknown): manifest is { readonly name: string } =>
  typeof manifest === "object" &&
  manifest !== null &&
  "name" in manifest &&
  typeof manifest.name === "string" &&
  !("private" in manifest)

/** The packages that are published, sorted by folder. */
export const publicPackages: ReadonlyArray<Package> = Fs.globSync("packages/*/package.json", { cwd: root })
  .toSorted()
  .flatMap((file) => {
    const manifest: unknown = JSON.parse(Fs.readFileSync(Path.join(root, file), "utf8"))
    return isPublic(manifest) ? [{ name: manifest.name, folder: Path.dirname(file) }] : []
  })

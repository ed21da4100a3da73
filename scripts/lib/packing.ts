/**
 * Building and packing, as `pack`, the release and their test do it.
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { pnpm } from "./install.cjs"
import { type Package, root } from "./workspace.ts"

/** Runs a program to its end; what it says on stdout goes to stderr, which is for people. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  cwd: string,
  env: Record<string, string> = {}
): void => {
  const { status } = spawnSync(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", 2, 2] })
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed in ${Path.relative(root, cwd) || "."}`)
}

/** The pinned pnpm. With `RELIVE_PACK` it may pack and publish: see `prepack.cjs`. */
export const runPnpm = (args: ReadonlyArray<string>, cwd: string): void =>
  run("npx", ["--yes", "--prefer-offline", pnpm, ...args], cwd, { CI: "true", RELIVE_PACK: "1" })

/** Builds all public packages. */
export const build = (): void => run(process.execPath, [Path.join(root, "scripts/build.ts")], root)

/** Packs a package that is built; returns the tarball. */
export const pack = ({ folder, name }: Package, destination: string): string => {
  const before = new Set(Fs.readdirSync(destination))
  runPnpm(["pack", "--pack-destination", destination], Path.join(root, folder))
  const made = Fs.readdirSync(destination).find((file) => !before.has(file))
  if (made === undefined) throw new Error(`${name} was not packed`)
  return Path.join(destination, made)
}

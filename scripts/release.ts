/**
 * Publishes all public packages that the registry does not have in their version yet, and tags them.
 *
 * `npm run release [-- --dry-run]`. Before it: `npx pnpm@… changeset version`, look at it, commit. It needs nothing but an account
 * of the registry: a token of a continuous integration that can attest where the packages were built (provenance), or
 * `npm login` with `--no-provenance`.
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { build, run, runPnpm } from "./lib/packing.ts"
import { placeholder, projectUrl } from "./lib/project.ts"
import { root } from "./lib/workspace.ts"

const isDryRun = process.argv.includes("--dry-run")
const withProvenance = !process.argv.includes("--no-provenance")

const output = (command: string, args: ReadonlyArray<string>): string =>
  spawnSync(command, args, { cwd: root, encoding: "utf8" }).stdout.trim()

/** Everything that stands in the way, so that nobody meets it one by one. */
const obstacles = (): ReadonlyArray<string> => {
  const found: Array<string> = []
  if (projectUrl.includes(`/${placeholder}/`)) {
    found.push(`The project has no owner yet: put one in place of ${placeholder} in package.json, and npm run metadata`)
  }
  if (output("git", ["status", "--porcelain"]) !== "") found.push("There are changes that are not committed")
  const pending = Fs.readdirSync(Path.join(root, ".changeset")).filter((name) => name.endsWith(".md"))
  if (pending.length > 0) found.push(`There are changesets: run changeset version, and commit (${pending.join(", ")})`)
  const canAttest = process.env.ACTIONS_ID_TOKEN_REQUEST_URL !== undefined
  if (withProvenance && !canAttest) {
    found.push(
      "Nobody here can attest where the packages are built: release from the workflow, or with --no-provenance"
    )
  }
  if (!canAttest && output("npm", ["whoami"]) === "") found.push("Nobody is logged in to the registry: npm login")
  return found
}

const found = obstacles()
for (const obstacle of found) process.stderr.write(`${obstacle}\n`)
if (found.length > 0 && !isDryRun) {
  process.exitCode = 1
} else {
  run(process.execPath, [Path.join(root, "scripts/metadata.ts"), "--check"], root)
  build()
  runPnpm(
    [
      "publish",
      "--recursive",
      "--filter=./packages/*",
      "--access=public",
      "--no-git-checks",
      ...(withProvenance && !isDryRun ? ["--provenance"] : []),
      ...(isDryRun ? ["--dry-run"] : [])
    ],
    root
  )
  if (!isDryRun) {
    runPnpm(["exec", "changeset", "tag"], root)
    process.stdout.write("Published and tagged. Now: git push --follow-tags\n")
  }
}

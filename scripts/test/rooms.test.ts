/** The linter keeps the rooms of a package apart: in a copy of the folders, one import upwards at a time. */
import { execFileSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))

let folder = ""

beforeAll(() => {
  folder = mkdtempSync(Path.join(tmpdir(), "rooms-"))
  cpSync(Path.join(root, "oxlint.config.ts"), Path.join(folder, "oxlint.config.ts"))
  symlinkSync(Path.join(root, "node_modules"), Path.join(folder, "node_modules"))
  writeFileSync(Path.join(folder, "package.json"), `{"type":"module"}`)
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The linter's messages about a file in `room` that imports `from`. */
const lint = (room: string, from: string): string => {
  const inside = Path.join(folder, "packages/core/src/internal", room)
  mkdirSync(inside, { recursive: true })
  writeFileSync(Path.join(inside, "guest.ts"), `import { thing } from "${from}"\nexport const other = thing\n`)
  try {
    const args = [Path.join(root, "node_modules/oxlint/bin/oxlint"), "packages"]
    return execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" })
  } catch (error) {
    return String((error as { stdout: unknown }).stdout)
  } finally {
    rmSync(Path.join(folder, "packages"), { recursive: true })
  }
}

describe("the rooms of core", () => {
  for (const [room, above] of [
    ["resp", "../commands/name.ts"],
    ["commands", "../options/url.ts"],
    ["options", "../call/call.ts"],
    ["telemetry", "../connection/session.ts"],
    ["call", "../connection/connection.ts"],
    ["transport", "../connection/session.ts"],
    ["transport", "../call/call.ts"],
    ["connection", "../service/tree.ts"],
    ["pubsub", "../service/tree.ts"],
    ["sentinel", "../connection/connection.ts"],
    ["service", "../api/calls.ts"]
  ] as const) {
    it(`${room} does not import ${above}`, () => {
      assert.include(lint(room, above), `The room ${room} stands on`)
    })
  }

  it("import what they stand on", () => {
    assert.notInclude(lint("connection", "../transport/wire.ts"), "stands on")
    assert.notInclude(lint("api", "../service/tree.ts"), "stands on")
  })

  it("are shown with all their files in the architecture", () => {
    const page = readFileSync(Path.join(root, "docs/architecture.md"), "utf8")
    const internal = Path.join(root, "packages/core/src/internal")
    const rooms = readdirSync(internal, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    const missing = rooms.flatMap(({ name }) => {
      const row = page.split("\n").find((line) => line.startsWith(`| \`${name}/\` |`)) ?? ""
      const files = readdirSync(Path.join(internal, name)).map((file) => `${name}/${file.replace(/\.ts$/, "")}`)
      return files.filter((file) => !row.includes(`\`${Path.basename(file)}\``))
    })
    assert.deepStrictEqual(missing, [])
  })
})

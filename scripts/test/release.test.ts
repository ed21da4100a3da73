/** Keeps packages from leaving in a wrong state. */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { metadataOf, placeholder, projectUrl, withLinks } from "../lib/project.ts"
import { publicPackages, root } from "../lib/workspace.ts"

describe("a public package", () => {
  for (const each of publicPackages) {
    const read = (file: string) => Fs.readFileSync(Path.join(root, each.folder, file), "utf8")

    it(`${each.name} says whose it is, as the root does, and what it is about`, () => {
      const manifest: Record<string, unknown> = JSON.parse(read("package.json"))
      assert.deepInclude(manifest, metadataOf(each))
      assert.ok(Array.isArray(manifest.keywords) && manifest.keywords.length > 0)
    })

    it(`${each.name} has links that work where nothing is beside its README`, () => {
      const links = [...read("README.md").matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? "")
      for (const link of links) assert.match(link, /^(https:|#)/, "npm run metadata")
      assert.strictEqual(withLinks(read("README.md"), each), read("README.md"))
      for (const link of links.filter((link) => link.startsWith(projectUrl))) {
        const path = link.slice(`${projectUrl}/tree/main/`.length).replace(/#.*/, "")
        assert.ok(Fs.existsSync(Path.join(root, path)), link)
      }
    })
  }

  it("is not packed by npm, which says what to do instead", () => {
    const folder = Path.join(root, "packages/core")
    const { status, stderr } = spawnSync("npm", ["pack", "--dry-run"], { cwd: folder, encoding: "utf8" })
    assert.notStrictEqual(status, 0)
    assert.match(stderr, /npm run pack/)
  })

  it("follows its owner's name wherever it stands, and has no link to what is beside it", () => {
    const link = "[a](https://github.com/other/relive/tree/main/docs) and [b](../core/README.md#options) and [c](#here)"
    assert.strictEqual(
      withLinks(link, { folder: "packages/pool" }),
      `[a](${projectUrl}/tree/main/docs) and [b](${projectUrl}/tree/main/packages/core/README.md#options) and [c](#here)`
    )
    assert.include(projectUrl, placeholder)
  })
})

describe("the release", () => {
  it("says all that stands in its way, and does nothing then", () => {
    const { status, stderr } = spawnSync(process.execPath, [Path.join(root, "scripts/release.ts")], {
      encoding: "utf8",
      env: { ...process.env, npm_config_registry: "http://127.0.0.1:9", npm_config_fetch_retries: "0" }
    })
    assert.strictEqual(status, 1)
    assert.match(stderr, /no owner yet/)
    assert.match(stderr, /changesets/)
    assert.match(stderr, /attest/)
  })
})

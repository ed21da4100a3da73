/**
 * The root scripts: what each one starts, under Node 24.
 */
"use strict"

const fs = require("node:fs")
const path = require("node:path")

/**
 * @typedef {object} Plan
 * @property {string[]} run arguments of Node
 * @property {string[] | undefined} [judge] arguments of a second Node, which judges how the first ended
 *
 * @typedef {object} Command
 * @property {(at: { root: string, args: string[] }) => Plan} plan
 * @property {boolean | undefined} [server] needs a real Redis server
 * @property {"user" | "root" | undefined} [cwd] where it runs; "user" when it takes paths
 * @property {Record<string, string> | undefined} [env]
 */

/** @type {(file: string, options?: Omit<Command, "plan">) => Command} */
const program = (file, options) => ({
  cwd: "user",
  ...options,
  plan: ({ root, args }) => ({ run: [path.join(root, file), ...args] })
})

/** @type {(file: string, fixed?: string[], options?: Omit<Command, "plan">) => Command} */
const tool = (file, fixed = [], options) => ({
  ...options,
  plan: ({ root, args }) => ({ run: [path.join(root, "node_modules", file), ...fixed, ...args] })
})

/**
 * The tests: vitest, and then a look at its report that does not believe the exit code nor the totals alone. The report
 * is named after this process, so that two runs at once do not read each other's. That of a whole run is kept.
 *
 * @type {(name: string, env: Record<string, string>) => Command}
 */
const tests = (name, env) => ({
  server: true,
  env,
  plan: ({ root, args }) => {
    const folder = path.join(root, ".relive", "reports")
    fs.mkdirSync(folder, { recursive: true })
    const report = path.join(folder, `${name}-${process.pid}.json`)
    fs.rmSync(report, { force: true })
    return {
      run: [
        path.join(root, "node_modules/vitest/vitest.mjs"),
        "run",
        "--config=vitest.workspace.ts",
        "--reporter=default",
        "--reporter=json",
        `--outputFile.json=${report}`,
        ...args
      ],
      judge: [
        path.join(root, "scripts/test-summary.ts"),
        report,
        ...(args.length === 0 ? [path.join(folder, `${name}.json`)] : [])
      ]
    }
  }
})

/** @type {Record<string, Command>} */
const commands = {
  setup: { server: true, plan: () => ({ run: ["--version"] }) },
  demo: program("examples/demo.ts", { server: true }),
  "demo:cluster": program("examples/cluster-demo.ts", { server: true }),
  test: tests("test", { RELIVE_TEST_LONG: "0" }),
  "test:long": tests("test-long", { RELIVE_TEST_LONG: "1" }),
  check: program("scripts/check.ts", { cwd: "root" }),
  lint: tool("oxlint/bin/oxlint", ["--deny-warnings"]),
  format: tool("oxfmt/bin/oxfmt"),
  "format:check": tool("oxfmt/bin/oxfmt", ["--check"]),
  "docs:check": program("scripts/docs-check.ts", { server: true }),
  build: program("scripts/build.ts"),
  pack: program("scripts/pack.ts"),
  metadata: program("scripts/metadata.ts", { cwd: "root" }),
  release: program("scripts/release.ts", { cwd: "root" }),
  "conformance:otp": program("packages/otp/conformance/run.ts"),
  "conformance:resp": program("packages/core/conformance/resp.ts"),
  "conformance:cluster": program("packages/cluster/conformance/run.ts"),
  "conformance:commands": program("packages/commands/conformance/run.ts"),
  "generate:commands": program("packages/commands/scripts/generate.ts"),
  "conformance:docs": program("scripts/conformance-docs.ts"),
  bench: program("benchmarks/src/main.ts", { server: true }),
  "bench:profile": program("benchmarks/src/profile.ts", { server: true }),
  "bench:bun": program("benchmarks/src/bun.ts", { server: true }),
  "bench:codec": program("benchmarks/src/codec.ts"),
  "bench:supervision": program("packages/otp/benchmark/supervision.ts"),
  "bench:cluster": program("benchmarks/src/cluster.ts", { server: true }),
  "bench:pool-faults": program("benchmarks/src/poolFaults.ts", { server: true }),
  "bench:charts": program("benchmarks/src/charts.ts"),
  soak: program("packages/soak/src/main.ts", { server: true }),
  "soak:cluster": program("packages/soak/src/cluster/main.ts", { server: true }),
  "soak:cluster-mutants": program("packages/soak/src/cluster/mutants.ts", { server: true }),
  "soak:mutants": program("packages/soak/src/mutants.ts", { server: true })
}

module.exports = { commands }

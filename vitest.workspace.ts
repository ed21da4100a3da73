/**
 * The real vitest configuration: one inline project per package (directory projects would not inherit these options).
 * Heavy cases end in `.long.test.ts` and run with `npm run test:long` only.
 */
import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

const long = process.env.RELIVE_TEST_LONG === "1"

/** `RELIVE_PARKING=off`: callers wait by `Effect.callback`, as they do with a version of Effect that core does not know. */
const setupFiles =
  process.env.RELIVE_PARKING === "off" ? [`${import.meta.dirname}/packages/core/test/withoutParking.ts`] : []

const project = (name: string, root = `packages/${name}`) => ({
  extends: true as const,
  test: { name, root, setupFiles, include: [long ? "test/**/*.long.test.ts" : "test/**/*.test.ts"] }
})

export default defineConfig({
  test: {
    exclude: ["**/node_modules/**", "**/dist/**", ...(long ? [] : ["**/*.long.test.ts"])],
    // Many tests wait for real servers: on a small machine, too, another file can run meanwhile. The heavy ones measure
    // memory and time, and are alone.
    maxWorkers: long ? 1 : Math.max(2, availableParallelism() - 1),
    testTimeout: long ? 300_000 : 30_000,
    hookTimeout: 60_000,
    // Connections are broken on purpose, and say so in the log: what a test says is shown when it fails.
    silent: "passed-only",
    projects: [
      project("otp"),
      project("core"),
      project("commands"),
      project("pool"),
      project("observer"),
      project("cluster"),
      project("persistence"),
      project("bullmq"),
      project("testing"),
      project("soak"),
      project("examples", "examples"),
      project("workspace", "scripts")
    ]
  }
})

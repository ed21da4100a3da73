/**
 * The linter's rules. Two kinds of them are ours: what a package may import, and what a room of a package may import.
 *
 * A room is a folder of `src/internal`. The rooms of a package are listed from the ground up, each with the rooms that it may
 * use; everything else is above it or beside it, and an import of it fails. `docs/architecture.md` shows the same tower.
 */
import { defineConfig } from "oxlint"

const noBarrel = { name: "effect", message: "Import the module: effect/Effect." }

const platformBarrel = {
  name: "@effect/platform-node",
  message: "Import the module: the barrel loads clients we do not use."
}

const closedInternals = {
  group: ["@relive/*/internal/**", "@relive/*/src/**", "../../*/src/**", "../../../*/src/**"],
  message: "Another package's internals are closed: use what it exports."
}

const noTesting = {
  group: ["@relive/testing", "@relive/testing/**"],
  message: "Nothing published depends on the testing package."
}

const sources: Sources = { paths: [noBarrel, platformBarrel], patterns: [closedInternals, noTesting] }

const otpSources: Sources = {
  paths: [noBarrel],
  patterns: [
    {
      group: ["@relive/**", "@effect/**", "node:*", "ioredis", "redis"],
      message: "@relive/otp knows nothing but effect."
    }
  ]
}

interface Sources {
  readonly paths: Array<{ name: string; message: string }>
  readonly patterns: Array<{ group: Array<string>; message: string }>
}

const restricted = (sources: Sources): ["error", Sources] => ["error", sources]

/** One override per room: it may import the rooms that are named, and no other room of its package. */
const roomsOf = (pkg: string, base: Sources, rooms: Readonly<Record<string, ReadonlyArray<string>>>) =>
  Object.entries(rooms).map(([room, below]) => {
    const others = Object.keys(rooms).filter((other) => other !== room && !below.includes(other))
    const pattern = {
      group: others.flatMap((other) => [`../${other}/**`, `../../${other}/**`]),
      message: `The room ${room} stands on ${below.length === 0 ? "no other" : below.join(", ")}: see docs/architecture.md.`
    }
    return {
      files: [`packages/${pkg}/src/internal/${room}/**`],
      rules: {
        "no-restricted-imports": restricted({
          paths: base.paths,
          patterns: others.length === 0 ? base.patterns : [...base.patterns, pattern]
        })
      }
    }
  })

/** Pure, from the ground up; `telemetry` is not pure, but stands on public types alone. */
const pure = ["resp", "commands", "options"]

const coreRooms = {
  resp: [],
  commands: ["resp"],
  options: ["resp", "commands"],
  telemetry: [],
  call: pure,
  transport: pure,
  connection: [...pure, "call", "transport"],
  pubsub: [...pure, "call", "transport", "connection"],
  sentinel: pure,
  service: [...pure, "telemetry", "call", "transport", "connection", "pubsub", "sentinel"],
  api: [...pure, "telemetry", "call", "transport", "connection", "pubsub", "sentinel", "service"]
}

const otpRooms = { process: [], genServer: ["process"], supervisor: ["process"] }

export default defineConfig({
  categories: {
    correctness: "error",
    suspicious: "error"
  },
  plugins: ["typescript", "import", "unicorn", "oxc"],
  ignorePatterns: ["**/dist/**", "**/fixtures/**", ".relive/**"],
  rules: {
    "typescript/no-explicit-any": "error",
    "typescript/ban-ts-comment": "error",
    "typescript/consistent-type-imports": "error",
    "typescript/no-non-null-assertion": "off",
    "typescript/no-unsafe-declaration-merging": "off",
    "no-console": "error",
    "no-shadow": "off",
    "require-yield": "off",
    "import/no-unassigned-import": "off",
    "import/no-cycle": "error",
    "unicorn/no-array-sort": "off",
    "unicorn/no-useless-spread": "off",
    "unicorn/consistent-function-scoping": "off",
    "unicorn/require-module-specifiers": "off",
    "no-underscore-dangle": "off"
  },
  overrides: [
    {
      files: ["packages/*/src/**"],
      rules: {
        "typescript/no-non-null-assertion": "error",
        "no-restricted-properties": [
          "error",
          { object: "Date", property: "now", message: "Use effect/Clock, so that tests can move the time." }
        ],
        "no-restricted-imports": restricted(sources)
      }
    },
    ...roomsOf("core", sources, coreRooms),
    {
      files: ["packages/otp/src/**"],
      rules: { "no-restricted-imports": restricted(otpSources) }
    },
    ...roomsOf("otp", otpSources, otpRooms),
    {
      files: ["packages/soak/**"],
      rules: { "no-console": "off", "no-restricted-imports": "off" }
    },
    {
      files: ["scripts/**", "packages/*/scripts/**", "examples/**", "benchmarks/**", "**/test/**", "**/conformance/**"],
      rules: {
        "no-console": "off",
        "no-unmodified-loop-condition": "off",
        "no-restricted-imports": restricted({
          paths: [],
          patterns: [
            {
              group: ["../../*/src/**", "../../../*/src/**"],
              message: "Another package's internals are closed: use what it exports."
            }
          ]
        })
      }
    }
  ]
})

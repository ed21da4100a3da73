/** The programs of a pool against a real server: as imported, and as started from a shell. */
import { assert, layer } from "@effect/vitest"
import { RedisServer } from "@relive/testing"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import * as Path from "node:path"
import { promisify } from "node:util"
import * as OneInstance from "../pool/one-instance.ts"
import * as TwoInstances from "../pool/two-instances.ts"
import * as WrappedPool from "../pool/wrapped-pool.ts"

const start = (file: string, url: string) =>
  Effect.promise(() =>
    promisify(execFile)(process.execPath, [Path.join(import.meta.dirname, "../pool", file)], {
      env: { ...process.env, REDIS_URL: url },
      timeout: 15_000
    })
  )

layer(RedisServer.layer(), { excludeTestServices: true })("the programs of a pool", (it) => {
  it.effect("one named instance", () =>
    Effect.gen(function* () {
      const { command, url } = yield* RedisServer.RedisServer
      assert.strictEqual(yield* Effect.provide(OneInstance.program, OneInstance.live(url)), "hello")
      yield* command(["FLUSHALL"])
      assert.strictEqual((yield* start("one-instance.ts", url)).stdout.trim(), "hello")
    })
  )

  it.effect("two instances for two purposes", () =>
    Effect.gen(function* () {
      const { command, url } = yield* RedisServer.RedisServer
      const expected = { report: 1_000_000, visits: 1 }
      assert.deepStrictEqual(yield* Effect.provide(TwoInstances.program, TwoInstances.live(url)), expected)
      yield* command(["FLUSHALL"])
      const { stdout } = yield* start("two-instances.ts", url)
      assert.strictEqual(stdout.trim(), "{ report: 1000000, visits: 1 }")
    })
  )

  it.effect("a pool under the application's supervisor, with a wrapper module and a random strategy", () =>
    Effect.gen(function* () {
      const { command, url } = yield* RedisServer.RedisServer
      assert.deepStrictEqual(yield* Effect.provide(WrappedPool.program, WrappedPool.live(url)), ["/", "/news"])
      yield* command(["FLUSHALL"])
      assert.strictEqual((yield* start("wrapped-pool.ts", url)).stdout.trim(), "[ '/', '/news' ]")
    })
  )
})

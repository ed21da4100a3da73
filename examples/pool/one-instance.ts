/**
 * One named connection in the tree of an application: started, watched and restarted by its supervisor, and reached by its
 * name from everywhere.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 node examples/pool/one-instance.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Commands } from "@relive/commands"
import { Redis } from "@relive/core"
import { Supervisor } from "@relive/otp"
import { Config, Console, Effect, Layer } from "effect"

/** The name under which programs find it. */
const cache = Redis.Name("cache")

/** The application's tree. More children stand beside the connection. */
export const tree = (url: string) => Supervisor.make({ children: [Redis.childSpec({ url, register: cache })] })

export const program = Effect.gen(function* () {
  yield* Commands.set("example:greeting", "hello")
  return yield* Commands.get("example:greeting")
})

/** The tree, and the connection in it as the `RedisService` that the program asks for. */
export const live = (url: string) => Layer.provide(Redis.layerNamed(cache), Supervisor.layer(tree(url)))

if (import.meta.main) {
  Config.String("REDIS_URL").pipe(
    Config.withDefault("redis://127.0.0.1:6379"),
    Effect.flatMap((url) => Effect.provide(program, live(url))),
    Effect.flatMap(Console.log),
    NodeRuntime.runMain
  )
}

/** Relive with each reply of `GET` decoded by a schema, to see what that costs. */
import * as Schema from "effect/Schema"
import type { Client } from "./client.ts"
import { callsOf, openLayer } from "./relive.ts"

const options = { schema: Schema.String }

export const client: Client = {
  open: (target) =>
    openLayer(
      (redis) => redis.layer({ host: target.host, port: target.port }),
      (redis) => ({ ...callsOf(redis), get: (key) => redis.command(["GET", key], options) })
    )
}

/** Relive without the default deadline of a call, to see what that costs. */
import type { Client } from "./client.ts"
import { openLayer } from "./relive.ts"

export const client: Client = {
  open: (target) => openLayer((redis) => redis.layer({ host: target.host, port: target.port, timeout: "infinite" }))
}

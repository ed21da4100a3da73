/** ioredis with `enableAutoPipelining`, which its README recommends for throughput. */
import type { Client } from "./client.ts"
import { ioredis } from "./ioredis.ts"

export const client: Client = ioredis({ enableAutoPipelining: true })

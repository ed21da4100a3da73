/** node-redis without its default timeout: faster, and a command may then wait for ever. It counts as a peer. */
import type { Client } from "./client.ts"
import { nodeRedis } from "./nodeRedis.ts"

export const client: Client = nodeRedis({ timeout: 0 })

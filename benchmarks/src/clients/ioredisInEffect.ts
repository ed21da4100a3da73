/**
 * ioredis in a process that has loaded what ours has. A collection of the whole heap takes as long as the program is large,
 * whoever caused it, and large values cause many: so this is how ioredis does in a program like those that use Relive.
 */
import "@relive/core"
import { ioredis } from "./ioredis.ts"
import type { Client } from "./client.ts"

export const client: Client = ioredis({ enableAutoPipelining: false })

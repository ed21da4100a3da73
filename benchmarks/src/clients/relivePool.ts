/** Relive's pool behind the same calls. It takes part in the pool workload only. */
import type * as Layer from "effect/Layer"
import type { Client, Target } from "./client.ts"
import { openLayer } from "./relive.ts"

interface PoolApi {
  readonly layer: (options: Target & { readonly size: number }) => Layer.Layer<unknown, unknown>
}

const isApi = (value: unknown): value is PoolApi => typeof value === "object" && value !== null && "layer" in value

const loadApi = async (): Promise<PoolApi> => {
  const pool: object = await import("@relive/pool")
  const api = "RedisPool" in pool ? pool.RedisPool : undefined
  if (!isApi(api)) throw new Error("@relive/pool has no RedisPool.layer yet")
  return api
}

const openPool = (target: Target, size: number) =>
  openLayer(async () => (await loadApi()).layer({ host: target.host, port: target.port, size }))

export const client: Client = { open: (target) => openPool(target, 1), openPool }

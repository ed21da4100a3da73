/** @internal */
export const TypeId = "~@relive/pool/RedisPool" as const

/** @internal */
export const TypeId = "~@relive/cluster/RedisCluster" as const

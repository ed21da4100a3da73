/**
 * Redis Cluster for Effect, supervised, behind the same service as one connection.
 *
 * @since 0.1.0
 */
export * as ClusterTopology from "./ClusterTopology.ts"
export * as RedisCluster from "./RedisCluster.ts"

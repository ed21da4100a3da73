/**
 * The name that goes with the name of a cluster's service.
 *
 * @internal
 */
import type { Service } from "@relive/core/RedisService"
import * as Registry from "@relive/otp/Registry"
import type { Cluster } from "../RedisCluster.ts"

export const clusterName = (name: Registry.Name<Service>): Registry.Name<Cluster> =>
  Registry.name<Cluster>(typeof name.key === "string" ? `${name.key}/cluster` : [name.key, "cluster"])

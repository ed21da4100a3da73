/**
 * The names that go with the name of a pool.
 *
 * @internal
 */
import type { Service } from "@relive/core/RedisService"
import * as Registry from "@relive/otp/Registry"
import type { Pool } from "../RedisPool.ts"

/** A string key stays a string: string names are the fastest to look up. */
const under = (key: unknown, part: string | number): unknown =>
  typeof key === "string" ? `${key}/${part}` : [key, part]

export const memberName = (name: Registry.Name<Service>, index: number): Registry.Name<Service> =>
  Registry.name<Service>(under(name.key, index))

export const poolName = (name: Registry.Name<Service>): Registry.Name<Pool> =>
  Registry.name<Pool>(under(name.key, "pool"))

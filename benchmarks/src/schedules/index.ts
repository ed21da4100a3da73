/** The scenarios: behaviour under faults, beside the peers, rather than times: `--scenario NAME`. */
import { failover } from "./failover.ts"
import { pubsub } from "./pubsub.ts"

/** Each takes the arguments that follow its name. */
export const schedules: Readonly<Record<string, (args: ReadonlyArray<string>) => Promise<void>>> = {
  failover,
  pubsub
}

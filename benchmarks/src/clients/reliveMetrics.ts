/** Relive with metrics on, to see what that costs. */
import type { Client } from "./client.ts"
import { withTelemetry } from "./relive.ts"

export const client: Client = withTelemetry({ spans: false, metrics: true })

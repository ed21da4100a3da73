/**
 * The encoder of all connections: a command is encoded in one turn, so one is enough.
 *
 * @internal
 */
import { Encoder } from "./respEncoder.ts"

export const encoder = new Encoder()

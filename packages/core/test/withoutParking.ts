/** Set up when `RELIVE_PARKING=off`: all tests of core and pool with `Effect.callback` in place of parked fibers. */
import { forbidParking } from "../src/internal/call/park.ts"

forbidParking()

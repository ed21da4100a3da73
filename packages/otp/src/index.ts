/**
 * Supervision for Effect, as OTP does it.
 *
 * @since 0.1.0
 */

/**
 * Why a process ended.
 *
 * @since 0.1.0
 */
export * as ExitReason from "./ExitReason.ts"

/**
 * Processes, exit signals, links and monitors.
 *
 * @since 0.1.0
 */
export * as Process from "./Process.ts"

/**
 * Typed names for processes.
 *
 * @since 0.1.0
 */
export * as Registry from "./Registry.ts"

/**
 * Supervision for Effect, as OTP does it.
 *
 * @since 0.1.0
 */

/**
 * Servers that only keep a value.
 *
 * @since 0.1.0
 */
export * as Agent from "./Agent.ts"

/**
 * A timer that can be brought forward.
 *
 * @since 0.1.0
 */
export * as Alarm from "./Alarm.ts"

/**
 * The specification of a child for its supervisor.
 *
 * @since 0.1.0
 */
export * as ChildSpec from "./ChildSpec.ts"

/**
 * Supervisors whose children come and go.
 *
 * @since 0.1.0
 */
export * as DynamicSupervisor from "./DynamicSupervisor.ts"

/**
 * Why a process ended.
 *
 * @since 0.1.0
 */
export * as ExitReason from "./ExitReason.ts"

/**
 * Servers: a state, and one message at a time.
 *
 * @since 0.1.0
 */
export * as GenServer from "./GenServer.ts"

/**
 * The bounded queue with cancellable entries.
 *
 * @since 0.1.0
 */
export * as Mailbox from "./Mailbox.ts"

/**
 * Processes, exit signals, links and monitors.
 *
 * @since 0.1.0
 */
export * as Process from "./Process.ts"

/**
 * Groups that processes join and leave.
 *
 * @since 0.1.0
 */
export * as ProcessGroup from "./ProcessGroup.ts"

/**
 * Typed names for processes.
 *
 * @since 0.1.0
 */
export * as Registry from "./Registry.ts"

/**
 * Supervisors with fixed children, and the ways to run a tree.
 *
 * @since 0.1.0
 */
export * as Supervisor from "./Supervisor.ts"

/**
 * Effects that run under a supervisor and whose result a caller waits for.
 *
 * @since 0.1.0
 */
export * as TaskSupervisor from "./TaskSupervisor.ts"

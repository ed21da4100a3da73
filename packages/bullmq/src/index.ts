/**
 * BullMQ on a supervised Redis connection.
 *
 * @since 0.1.0
 */
export * as BullMQConnection from "./BullMQConnection.ts"

/**
 * Looks into a running supervision tree, in a browser.
 *
 * @since 0.1.0
 */

/**
 * The observer as a child, or as a layer.
 *
 * @since 0.1.0
 */
export * as Observer from "./Observer.ts"

/**
 * One sentence for a command, in our own words.
 */
export const summaries: Readonly<Record<string, string>> = {}

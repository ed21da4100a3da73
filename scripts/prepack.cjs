/**
 * Runs before a package is packed, by whatever means, and lets nobody pass but our own scripts: packed without them a package has
 * the sources in its exports, ranges that no registry knows, and no build.
 */
"use strict"

if (process.env.RELIVE_PACK !== "1") {
  console.error(
    "Packed like this the package would not work: its exports are the sources, and it is not built.\n" +
      "Run this at the root of the project instead: npm run pack"
  )
  process.exit(1)
}

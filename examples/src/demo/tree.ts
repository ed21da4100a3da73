/**
 * The supervision tree of the demo:
 *
 * ```
 * demo
 * ├─ redis           the connection: a supervisor, registered under a name
 * │  └─ session      one life of it; restarted when its socket fails
 * └─ workers         a supervisor
 *    └─ …            programs that use the connection by its name
 * ```
 */
import { Redis } from "@relive/core"
import { ChildSpec, Supervisor } from "@relive/otp"
import type { Book } from "./book.ts"
import { recovery } from "./settings.ts"
import { workers, type Stop } from "./worker.ts"

/** The name under which the connection is found. */
export const Main = Redis.Name("demo/redis")

/** The tree. The workers come after the connection, so they are stopped before it. */
export const tree = (url: string, book: Book, stop: Stop) =>
  Supervisor.make({
    children: [
      Redis.childSpec({ id: "redis", register: Main, url, ...recovery }),
      ChildSpec.supervisor({ id: "workers", supervisor: Supervisor.make({ children: workers(book, stop, Main) }) })
    ]
  })

/**
 * The URL of a group under Sentinels: `redis-sentinel://user:password@host:26379,host2:26379/0?group=mymaster`.
 *
 * The credentials, the database and the other options of the query are those of the servers, as in any Redis URL; the hosts are
 * the Sentinels'. With `rediss-sentinel://` both speak TLS. The Sentinels' own are `sentinelUsername`, `sentinelPassword` and
 * `sentinelTimeout` in the query, beside `group` and `role`.
 *
 * @internal
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { SENTINEL_PORT, timeout } from "./sentinel.ts"
import * as RedisUrl from "./url.ts"

/** The parts: the URL as one of a server without its place, and the option `sentinel` as one would write it. */
export interface SentinelUrl {
  readonly server: RedisUrl.RedisUrl
  readonly sentinel: Readonly<Record<string, unknown>>
}

const pattern = /^(rediss?|valkeys?)-sentinel:\/\/([^/?#]*)(.*)$/is

export const isSentinelUrl = (text: string): boolean => pattern.test(text)

/** The names of the query, and those of the option. */
const parameters: ReadonlyMap<string, string> = new Map([
  ["group", "group"],
  ["role", "role"],
  ["sentinelUsername", "username"],
  ["sentinelPassword", "password"],
  ["sentinelTimeout", "timeout"]
])

const valueOf = (name: string, text: string): unknown =>
  name === "sentinelTimeout" ? (timeout.read(text) ?? text) : name === "sentinelPassword" ? Redacted.make(text) : text

/** Reads such a URL. The failure is a message for a person, without anything secret. */
export const parse = (text: string): Result.Result<SentinelUrl, string> => {
  const [, scheme = "", authority = "", rest = ""] = pattern.exec(text) ?? []
  const at = authority.lastIndexOf("@") + 1
  const plain = scheme.toLowerCase()
  const hosts = authority.slice(at).split(",")
  const parsed = Result.all([
    RedisUrl.parse(`${plain}://${authority.slice(0, at)}127.0.0.1${rest}`),
    Result.all(hosts.map((host) => RedisUrl.parse(`${plain}://${host}`)))
  ])
  return Result.mapError(
    Result.map(parsed, ([server, sentinels]) => {
      const own = [...server.query].filter(([name]) => parameters.has(name))
      return {
        server: {
          ...server,
          host: undefined,
          port: undefined,
          query: new Map([...server.query].filter(([name]) => !parameters.has(name)))
        },
        sentinel: {
          sentinels: sentinels.map(({ host = "127.0.0.1", port = SENTINEL_PORT }) => ({ host, port })),
          ...Object.fromEntries(own.map(([name, value]) => [parameters.get(name), valueOf(name, value)])),
          ...(server.tls ? { tls: true } : {})
        }
      }
    }),
    (problem) => problem.replaceAll(`${plain}://`, `${plain}-sentinel://`)
  )
}

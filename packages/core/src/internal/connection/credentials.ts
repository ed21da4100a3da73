/**
 * Passwords that expire while a session lives, as tokens of IAM and Entra do: before that, the next one is asked for, and said
 * on the live session between two commands.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Resp from "../../Resp.ts"
import { Call, INTERNAL } from "../call/call.ts"
import type { Answer } from "../call/call.ts"
import { encoder } from "../call/encoding.ts"
import { RawReducer } from "../call/reducers.ts"
import { ArgumentFailure } from "../resp/encoder.ts"
import type { Connection } from "./connection.ts"
import type { Session } from "./session.ts"

/** A password, and how long it holds, in milliseconds. */
export interface Credentials {
  readonly username: string | undefined
  readonly password: string | undefined
  readonly lifeMillis: number
}

/** Asks for the next ones. */
export type Renewal<E> = Effect.Effect<Credentials, E>

/** Before so much of its life is over, a password is renewed: late enough for a cache that gives the same one until then. */
const RENEW_AT = 0.8

const FIRST_RETRY_MILLIS = 1_000

/** After a failure it is tried again some times before the old one expires. */
const retryMillis = (lifeMillis: number): number => Math.max(FIRST_RETRY_MILLIS, lifeMillis * 0.04)

/** Says `AUTH`, and gives what the server says to it. */
const authenticate = (connection: Connection, session: Session, { password, username }: Credentials) =>
  Effect.callback<Answer>((resume) => {
    const words = username === undefined ? [password ?? ""] : [username, password ?? ""]
    const payload = encoder.encode(["AUTH", ...words])
    if (payload instanceof ArgumentFailure) return resume(Effect.die(payload))
    const { connectTimeoutMillis } = connection.options
    const reducer = new RawReducer(() => {})
    session.submitInternal(
      new Call<ReadonlyArray<Answer>>(
        payload,
        1,
        encoder.bytes,
        "AUTH",
        INTERNAL,
        reducer,
        1,
        connectTimeoutMillis,
        connection.now(),
        (outcome) => {
          // A failure is the end of the session.
          if (Exit.isSuccess(outcome)) resume(Effect.succeed(outcome.value[0] ?? null))
        }
      )
    )
  })

/**
 * Renews a session's password each time before it expires, for as long as the session lives. What goes wrong is logged, and tried
 * again: until the password has expired the session is as good as before, and after that the server ends it.
 */
export const keepAuthenticated = <E>(
  connection: Connection,
  session: Session,
  first: Credentials,
  renewal: Renewal<E>
): Effect.Effect<void> => {
  // On a connection of one's own a transaction may be open. In RESP2 a subscriber may say nothing.
  if (connection.kind === "leased") return Effect.void
  const warn = (what: string) => Effect.logWarning(`Redis at ${connection.address}: ${connection.secrets.hide(what)}`)
  const renew = Effect.gen(function* () {
    const next = yield* renewal
    connection.secrets.add(next.username, next.password)
    const reply = yield* authenticate(connection, session, next)
    if (reply === "OK") return next
    const said = reply instanceof Resp.ReplyError ? reply.message : "the reply was not OK"
    yield* warn(`the next password was refused: ${said}`)
    return undefined
  }).pipe(
    Effect.catchCause((cause) =>
      Effect.as(warn(`the next password could not be had: ${String(Cause.squash(cause))}`), undefined)
    )
  )
  const after = (millis: number, current: Credentials): Effect.Effect<void> =>
    millis === Infinity || (session.feed !== undefined && session.protocol === 2)
      ? Effect.void
      : Effect.flatMap(Effect.andThen(Effect.sleep(millis), renew), (next) =>
          next === undefined ? after(retryMillis(current.lifeMillis), current) : after(next.lifeMillis * RENEW_AT, next)
        )
  return after(first.lifeMillis * RENEW_AT, first)
}

/**
 * The failure of a check: thrown where it is found, and a failed `Result` where the check was begun.
 *
 * @internal
 */
import * as Result from "effect/Result"

class Invalid {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** Ends the check with a sentence for a person, which shows no password. */
export const invalid = (message: string): never => {
  throw new Invalid(message)
}

/** The value of a check, or the sentence that ended it. */
export const attempt = <A>(check: () => A): Result.Result<A, string> => {
  try {
    return Result.succeed(check())
  } catch (error) {
    if (error instanceof Invalid) return Result.fail(error.message)
    throw error
  }
}

/** The value of a check inside another one, which ends with it. */
export const valid = <A>(result: Result.Result<A, string>): A => Result.getOrElse(result, invalid)

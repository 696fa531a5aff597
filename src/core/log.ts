/** Fields of a log line beside its message. `request_id`, `user_id` and `exception` have places of their own. */
export type LogFields = Readonly<Record<string, unknown>>

/** Where a part writes its log lines. No field may hold a token, a secret or a header's value. */
export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
}

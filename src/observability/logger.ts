import { destination, type LoggerOptions, pino, stdSerializers, stdTimeFunctions } from 'pino'
import pretty from 'pino-pretty'
import type { Logger } from '../core/log.ts'

/** How log lines are written. */
export interface LogSettings {
  level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  format: 'json' | 'ecs' | 'pretty'
}

/** The log of the process. */
export interface Loggers {
  /** The logger of a named part; all of them share one stream. */
  named(name: string): Logger
  /**
   * Writes what is still buffered, for the moment before an abrupt end: a line that is being written meanwhile may come
   * out after later ones. A process that ends by itself writes all of them, in order.
   */
  flush(): void
}

// The fields of every line, by format. Elastic's names are those of the Elastic Common Schema 9.
const fieldNames = {
  json: { timestamp: 'timestamp', message: 'message', logger: 'logger', exception: 'exception' },
  ecs: { timestamp: '@timestamp', message: 'message', logger: 'log.logger', exception: 'error' },
} as const

const ecsNames: Readonly<Record<string, string>> = { request_id: 'http.request.id', user_id: 'user.id' }

/**
 * Writes log lines to stderr: stdout belongs to events and to commands' answers. A slow reader of stderr slows no
 * verdict. Fields are `timestamp level message logger` and, where there is one, `request_id user_id exception`.
 */
export function createLoggers({ level, format }: LogSettings): Loggers {
  const names = fieldNames[format === 'ecs' ? 'ecs' : 'json']
  const stderr = destination({ dest: 2, sync: false, maxLength: maxBufferedCharacters })
  const root = pino(options(level, format), format === 'pretty' ? prettyStream() : stderr)
  return {
    named: (name) => root.child({ [names.logger]: name }) as Logger,
    flush: () => stderr.flushSync(),
  }
}

/** Lines past this many characters that stderr has not yet taken are dropped. */
const maxBufferedCharacters = 4 * 1024 * 1024

function options(level: string, format: LogSettings['format']): LoggerOptions {
  const names = fieldNames[format === 'ecs' ? 'ecs' : 'json']
  return {
    level,
    base: format === 'ecs' ? { 'ecs.version': '9.0.0' } : null,
    messageKey: names.message,
    errorKey: names.exception,
    timestamp: () => stdTimeFunctions.isoTime().replace('"time"', `"${names.timestamp}"`),
    serializers: { exception: stdSerializers.errWithCause, error: ecsError },
    formatters: {
      level: (label) => ({ [format === 'ecs' ? 'log.level' : 'level']: label }),
      ...(format === 'ecs' && { log: toEcs }),
    },
  }
}

function prettyStream() {
  return pretty({
    destination: 2,
    messageKey: 'message',
    timestampKey: 'timestamp',
    errorLikeObjectKeys: ['exception'],
    translateTime: 'SYS:HH:MM:ss.l',
    messageFormat: '{logger}: {message}',
    ignore: 'logger',
    colorize: process.stderr.isTTY === true && !process.env['NO_COLOR'],
    sync: true,
  })
}

function toEcs(fields: Record<string, unknown>): Record<string, unknown> {
  const { exception, ...rest } = fields
  const named = Object.entries(rest).map(([key, value]) => [ecsNames[key] ?? key, value])
  return { ...Object.fromEntries(named), ...(exception !== undefined && { error: exception }) }
}

function ecsError(error: unknown): unknown {
  if (!Error.isError(error)) return error
  return { type: error.name, message: error.message, stack_trace: error.stack }
}

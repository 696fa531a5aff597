import type { LogFields, Logger } from '../../src/core/log.ts'

/** One line as a part wrote it. */
interface Line {
  level: keyof Logger
  message: string
  fields: LogFields
}

/** A logger whose lines a test can read. */
export interface LogLines {
  logger: Logger
  lines: Line[]
}

/** Makes a logger that keeps what it is told. */
export function createLogLines(): LogLines {
  const lines: Line[] = []
  const write = (level: keyof Logger) => (fields: LogFields, message: string) => {
    lines.push({ level, message, fields })
  }
  return {
    lines,
    logger: { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') },
  }
}

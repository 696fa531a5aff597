import type { MessagePort } from 'node:worker_threads'
import type { Logger } from '../../core/log.ts'
import { type Keeper, type KeeperParts, startKeeper } from './keeper.ts'
import type { FromThread, ToThread } from './messages.ts'

/** What the main of the spool's thread hands over. */
export type ThreadParts = Omit<KeeperParts, 'logger' | 'onCommitted' | 'onNumbers'>

/** A logger of this thread: its lines are written by the main one. */
export function createThreadLogger(port: MessagePort): Logger {
  const tell = (message: FromThread) => port.postMessage(message)
  const write = (level: keyof Logger): Logger[keyof Logger] => {
    return (fields, message) => {
      try {
        tell({ kind: 'line', level, fields, message })
      } catch {
        // Something in it cannot be copied.
        tell({ kind: 'line', level, fields: { said: fieldsAsText(fields) }, message })
      }
    }
  }
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

/** Keeps the spool in this thread until it is told to stop, and lets the thread end then. */
export function serveSpool(port: MessagePort, logger: Logger, parts: ThreadParts): void {
  const tell = (message: FromThread) => port.postMessage(message)
  const keeper = tryToStart({
    ...parts,
    logger,
    onCommitted: (number) => tell({ kind: 'committed', number }),
    onNumbers: (numbers) => tell({ kind: 'numbers', numbers }),
  })
  if (keeper instanceof Error) {
    tell({ kind: 'unusable', why: keeper.message })
    port.close()
    return
  }
  port.on('message', (message: ToThread) => {
    switch (message.kind) {
      case 'batch':
        return keeper.commit(message.number, message.batch)
      case 'stop':
        return void keeper.stop(message.withinMs).then(() => {
          tell({ kind: 'stopped' })
          port.close()
        })
    }
  })
  tell({ kind: 'ready' })
}

function tryToStart(parts: KeeperParts): Keeper | Error {
  try {
    return startKeeper(parts)
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    return new Error(code === undefined || code === '' ? message : `${message} (${code})`)
  }
}

function fieldsAsText(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}`)
    .join('; ')
}

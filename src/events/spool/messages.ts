import type { LogFields, Logger } from '../../core/log.ts'
import type { Batch } from './batch.ts'
import type { SpoolNumbers } from './numbers.ts'

/** What the spool's thread is told. */
export type ToThread =
  /** `number` counts up; the answer names it. */
  | { kind: 'batch'; number: number; batch: Batch }
  /** Commit what has come, deliver as much as can be within the limit, and end. */
  | { kind: 'stop'; withinMs: number }

/** What it tells. */
export type FromThread =
  | { kind: 'ready' }
  /** The log cannot be had; the message is for whoever wrote the configuration. */
  | { kind: 'unusable'; why: string }
  | { kind: 'committed'; number: number }
  | { kind: 'numbers'; numbers: SpoolNumbers }
  | { kind: 'line'; level: keyof Logger; fields: LogFields; message: string }
  | { kind: 'stopped' }

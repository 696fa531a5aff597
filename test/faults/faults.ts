import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import type { EventType } from '../../src/core/events.ts'
import type { Gatepost } from '../support/gatepost.ts'
import type { SmallDisk } from '../support/small-disk.ts'
import type { Load } from './load.ts'
import type { Stage } from './stage.ts'

/** Events by type. */
export type Counts = Partial<Record<EventType, number>>

/** What a fault may do, while requests are under way. */
export interface Scene {
  stage: Stage
  load: Pick<Load, 'reached'>
  /** The Gatepost that runs, or ran last. */
  readonly gatepost: Gatepost
  /** Where `disk` was asked for. */
  disk: SmallDisk | undefined
  /** Whether little time is to be spent. */
  isShort: boolean
  /** Ends Gatepost, does something meanwhile, and starts it on the same data folder. */
  restart(signal: 'SIGKILL' | 'SIGTERM', meanwhile?: () => Promise<void>): Promise<void>
  /** Events that a broker may miss without a count of it: they were in a file that nobody can read any more. */
  forgive(broker: string, events: Counts): void
}

/** A fault. */
export interface Fault {
  title: string
  /** Characters that each path has beyond what it needs. */
  padding?: number
  /** Size of the file system that the data folder is on, instead of the machine's own. */
  disk?: string
  /** Begins the fault, and ends it. */
  strike(scene: Scene): Promise<void>
}

/** So long that events of a few thousand requests fill memory and disks. */
const longPath = 2_000

/** Every fault, in the order of the table. */
export const faults = {
  none: {
    title: 'none',
    strike: ({ load }) => load.reached(0.6),
  },
  'kafka-kill': {
    title: 'Kafka: kill -9, and started again',
    async strike({ stage: { kafka }, isShort }) {
      await kafka.kill()
      await delay(isShort ? 1_000 : 10_000)
      await kafka.start()
    },
  },
  'rabbitmq-kill': {
    title: 'RabbitMQ: kill -9, and started again',
    async strike({ stage: { rabbit }, isShort }) {
      await rabbit.kill()
      await delay(isShort ? 1_000 : 10_000)
      await rabbit.restart()
    },
  },
  'black-hole': {
    title: 'both brokers behind a black hole',
    async strike({ stage: { ways }, isShort }) {
      for (const way of Object.values(ways)) await way.poison({ type: 'timeout', attributes: { timeout: 0 } })
      await delay(isShort ? 2_000 : 30_000)
      for (const way of Object.values(ways)) await way.heal()
    },
  },
  'gatepost-kill': {
    title: 'Gatepost: kill -9, and started again',
    strike: ({ restart }) => restart('SIGKILL'),
  },
  'gatepost-term': {
    title: 'Gatepost: SIGTERM, and started again',
    strike: ({ restart }) => restart('SIGTERM'),
  },
  'disk-full': {
    title: 'disk full, brokers there',
    disk: '16m',
    padding: longPath,
    async strike({ disk, isShort }) {
      disk?.fill()
      await delay(isShort ? 2_000 : 30_000)
      disk?.free()
    },
  },
  'disk-small': {
    title: 'disk of 2 MiB, brokers away',
    disk: '2m',
    padding: longPath,
    async strike({ stage, load }) {
      await cutBoth(stage)
      await load.reached(0.8)
      await healBoth(stage)
    },
  },
  'damage-stopped': {
    title: 'file damaged while Gatepost is stopped, brokers away',
    async strike({ stage, load, gatepost, restart, forgive }) {
      await cutBoth(stage)
      await load.reached(0.5)
      const file = spoolFile(gatepost)
      await restart('SIGTERM', async () => {
        for (const [broker, events] of heldIn(file)) forgive(broker, events)
        scribble(file)
      })
      await healBoth(stage)
    },
  },
  'damage-running': {
    title: 'file damaged while Gatepost runs, brokers away',
    padding: longPath,
    async strike({ stage, load, gatepost }) {
      await cutBoth(stage)
      await load.reached(0.6)
      scribble(spoolFile(gatepost))
      await load.reached(0.7)
      await healBoth(stage)
    },
  },
} as const satisfies Record<string, Fault>

/** The name of a fault on the command line. */
export type FaultName = keyof typeof faults

async function cutBoth({ ways }: Stage): Promise<void> {
  for (const way of Object.values(ways)) await way.cut()
}

async function healBoth({ ways }: Stage): Promise<void> {
  for (const way of Object.values(ways)) await way.heal()
}

function spoolFile({ dataFolder }: Gatepost): string {
  return join(dataFolder, 'spool.db')
}

/** Overwrites everything behind the first page. */
function scribble(file: string): void {
  const handle = openSync(file, 'r+')
  const pageBytes = 4_096
  const noise = Buffer.alloc(pageBytes, 'nonsense ')
  for (let at = pageBytes; at < fstatSync(handle).size; at += pageBytes)
    writeSync(handle, noise, 0, pageBytes, at)
  closeSync(handle)
}

/** What a log holds that a broker has not answered for. */
function heldIn(file: string): Map<string, Counts> {
  const database = new Database(file)
  const rows = database
    .prepare<[], { name: string; types: string }>(
      'SELECT readers.name, log.types FROM readers JOIN log ON log.position > readers.position',
    )
    .all()
  database.close()
  const held = new Map<string, Counts>()
  for (const { name, types } of rows) {
    const sum = held.get(name) ?? {}
    for (const [type, count] of Object.entries(JSON.parse(types) as Counts) as [EventType, number][])
      sum[type] = (sum[type] ?? 0) + count
    held.set(name, sum)
  }
  return held
}

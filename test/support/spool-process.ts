import { setTimeout as delay } from 'node:timers/promises'
import { openSpool } from '../../src/events/spool/spool.ts'
import { systemClock } from '../../src/surroundings.ts'
import { makeEvent } from './spool.ts'
import { startSpoolThread } from './spool-thread.ts'

// Run as `node test/support/spool-process.ts FOLDER PREFIX`: writes events with ids PREFIX-0, PREFIX-1 … for ever, a few each
// millisecond, and tells on stdout how many it has written each time that some have come to rest on the disk.
if (import.meta.main) {
  const [folder = '', prefix = ''] = process.argv.slice(2)
  const quiet = () => undefined
  const spool = await openSpool({
    startThread: () => startSpoolThread({ folder }),
    clock: systemClock,
    random: Math.random,
    logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    onDrop: quiet,
    onCounts: quiet,
    onRestart: quiet,
  })
  for (let at = 0; ; ) {
    for (let left = 5; left > 0; left--) spool.write([makeEvent(undefined, `${prefix}-${at++}`)])
    await delay(1)
    if (spool.bufferedCharacters === 0) process.stdout.write(`at rest ${at}\n`)
  }
}

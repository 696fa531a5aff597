import type { Channel } from 'amqplib'

/**
 * Queues in which messages wait, each twice as long as the next: 1, 2, 4 … steps. A wait is the sum of some of them, as
 * a number is of powers of two.
 */
export interface Ladder {
  /** The shortest wait, which others are whole multiples of, in milliseconds. */
  stepMs: number
  /** How many queues; the longest wait is 2^rungs − 1 steps. */
  rungs: number
}

/** Seconds, up to 36 hours: longer than any wait that a delivery is given. */
export const standardLadder: Ladder = { stepMs: 1_000, rungs: 17 }

/** The name of a rung's exchange and queue. */
function rungName(waitMs: number): string {
  return `gateway.webhooks.delay.${waitMs}`
}

/** The waits of the rungs in milliseconds, the longest first. */
function waitsOf({ stepMs, rungs }: Ladder): number[] {
  return Array.from({ length: rungs }, (_, at) => stepMs * 2 ** (rungs - 1 - at))
}

/** Where a message that is to wait is published. */
export function delayExchange(ladder: Ladder): string {
  return rungName(ladder.stepMs * 2 ** (ladder.rungs - 1))
}

/**
 * The routing key of a wait: a word for each rung, the longest first, 1 where the message waits there and 0 where it
 * passes. Rounded to whole steps, at least one, at most the whole ladder.
 */
export function delayKey(waitMs: number, { stepMs, rungs }: Ladder): string {
  const steps = Math.min(Math.max(Math.round(waitMs / stepMs), 1), 2 ** rungs - 1)
  return [...steps.toString(2).padStart(rungs, '0')].join('.')
}

/**
 * Declares the ladder. Each rung is a topic exchange that looks at its own word of the key: 1 leads into the rung's
 * queue, from where the message goes on to the next exchange once its time there is over; 0 leads to that exchange at
 * once. All messages of a queue wait equally long, so that none is held up by one before it.
 * @param queueArguments of a queue that dead-letters to an exchange.
 * @param target the queue that the ladder leads to.
 */
export async function declareDelays(
  channel: Pick<Channel, 'assertExchange' | 'assertQueue' | 'bindExchange' | 'bindQueue'>,
  ladder: Ladder,
  queueArguments: (deadLetterExchange: string, deadLetterKey?: string) => Record<string, unknown>,
  target: string,
): Promise<void> {
  const waits = waitsOf(ladder)
  for (const waitMs of waits) await channel.assertExchange(rungName(waitMs), 'topic', { durable: true })
  for (const [at, waitMs] of waits.entries()) {
    const name = rungName(waitMs)
    const next = waits[at + 1]
    const onward = next === undefined ? queueArguments('', target) : queueArguments(rungName(next))
    const word = (bit: 0 | 1) => `${'*.'.repeat(at)}${bit}.#`
    await channel.assertQueue(name, {
      durable: true,
      arguments: { ...onward, 'x-message-ttl': waitMs },
    })
    await channel.bindQueue(name, name, word(1))
    if (next === undefined) await channel.bindQueue(target, name, word(0))
    else await channel.bindExchange(rungName(next), name, word(0))
  }
}

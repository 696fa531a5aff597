import { exitCodes } from '../core/exit-codes.ts'
import type { Options } from './arguments.ts'
import { type AdminCommandParts, type AdminRequest, type Call, Refused, runAdminCommand } from './ask.ts'
import { type OptionParts, readDraft, readFilter, readPage, readRotation } from './webhooks-options.ts'
import {
  deliveriesTable,
  deliveryText,
  type ShownDelivery,
  type ShownDetail,
  type ShownWebhook,
  testText,
  webhooksTable,
  webhookText,
} from './webhooks-shown.ts'

/** What the command needs of its surroundings. */
export interface WebhooksCommandParts extends AdminCommandParts, OptionParts {}

/** What came of an action. */
interface Done {
  /** For machines, as the API answered. */
  body: unknown
  /** For people. */
  text: string
  exitCode?: number
}

interface Asked {
  /** What stands behind the action; empty where nothing does. */
  id: string
  options: Options
  parts: OptionParts
  call: Call
}

/** How long a test may take, in milliseconds: an attempt, and what waits before it. */
const testLimitMs = 60_000

const actions: Readonly<Record<string, (asked: Asked) => Promise<Done>>> = {
  list: async ({ call }) => {
    const body = (await call({ method: 'GET', path: '/api/webhooks' })) as { webhooks: ShownWebhook[] }
    return { body, text: webhooksTable(body.webhooks) }
  },
  add: async ({ call, options, parts }) => {
    const draft = readDraft(options, parts)
    const body = (await call({ method: 'POST', path: '/api/webhooks', body: draft })) as WithSecret
    const { id, events, url } = body
    const what = `${id} takes ${events.join(', ')} to ${url}, from this replica alone`
    const next = `gatepost webhooks test ${id} delivers one to try, gatepost webhooks deliveries lists them.`
    return { body, text: `${what}.\n\n${secretText(body)}\n${next}\n` }
  },
  show: async ({ call, id }) => {
    const body = (await call({ method: 'GET', path: webhookPath(id) })) as ShownWebhook
    return { body, text: webhookText(body) }
  },
  remove: async ({ call, id }) => {
    await call({ method: 'DELETE', path: webhookPath(id) })
    return { body: { removed: id }, text: `${id} is removed, with all of its deliveries\n` }
  },
  test: async ({ call, id }) => {
    const request: AdminRequest = { method: 'POST', path: webhookPath(id, 'test'), limitMs: testLimitMs }
    const body = (await call(request)) as ShownDetail
    const isDelivered = body.status === 'delivered'
    return { body, text: testText(body), exitCode: isDelivered ? exitCodes.ok : exitCodes.failed }
  },
  rotate: async ({ call, id, options, parts }) => {
    const rotation = readRotation(options, parts)
    const body = (await call({
      method: 'POST',
      path: webhookPath(id, 'rotate'),
      body: rotation,
    })) as WithSecret
    const [until] = body.secrets.flatMap((secret) => secret.until ?? [])
    const old =
      until === undefined ? 'The old one signs no more.' : `The old one signs as well until ${until}.`
    return { body, text: `${secretText(body)}\n${old}\n` }
  },
  pause: (asked) =>
    order(asked, 'pause', 'is paused: what comes is queued; gatepost webhooks resume ends it'),
  resume: (asked) => order(asked, 'resume', 'is delivered to again'),
  enable: (asked) => order(asked, 'enable', 'is delivered to again'),
  deliveries: async ({ call, id, options, parts }) => {
    const filter = { ...readFilter(options, parts), ...readPage(options) }
    if (id !== '') {
      const body = (await call({ method: 'GET', path: deliveryPath(id) })) as ShownDetail
      return { body, text: deliveryText(body) }
    }
    const path = `/api/deliveries?${new URLSearchParams(filter)}`
    const body = (await call({ method: 'GET', path })) as Page
    return { body, text: deliveriesTable(body.deliveries, body.next_cursor) }
  },
  replay: async ({ call, id, options, parts }) => {
    const filter = readFilter(options, parts)
    if (id !== '') return replayOne(call, id)
    if (options['all'] !== true) {
      throw new Refused(
        'Say which delivery, by its id, or --all with what they have in common, such as --webhook ID',
        exitCodes.usage,
      )
    }
    const body = (await call({ method: 'POST', path: '/api/deliveries/replay', body: filter })) as Replayed
    const count = body.replayed === 1 ? '1 delivery is' : `${body.replayed} deliveries are`
    const more = body.more ? '; there are more: run it again' : ''
    return { body, text: `${count} delivered once more${more}\n` }
  },
}

type WithSecret = ShownWebhook & { secret: string }

interface Page {
  deliveries: ShownDelivery[]
  next_cursor?: string
}

interface Replayed {
  replayed: number
  more: boolean
}

/**
 * `gatepost webhooks ACTION`: endpoints and deliveries of the Gatepost that runs on the admin address.
 * @returns the exit code; 1 where a test was not delivered.
 */
export function webhooksCommand(
  action: string,
  [id = '']: readonly string[],
  options: Options,
  parts: WebhooksCommandParts,
): Promise<number> {
  return runAdminCommand('webhooks', parts, async (call) => {
    const act = actions[action]
    if (!act) throw new Refused(`There is no webhooks ${action}`, exitCodes.usage)
    const { body, text, exitCode = exitCodes.ok } = await act({ id, options, parts, call })
    return { text: options['json'] ? `${JSON.stringify(body, null, 2)}\n` : text, exitCode }
  })
}

async function order({ call, id }: Asked, name: string, says: string): Promise<Done> {
  const body = (await call({ method: 'POST', path: webhookPath(id, name) })) as ShownWebhook
  const { condition, why } = body
  const nevertheless = condition === 'delivering' || condition === 'paused' ? '' : `, but is ${condition}`
  return { body, text: `${id} ${says}${nevertheless}${nevertheless && why ? `: ${why}` : ''}\n` }
}

async function replayOne(call: Call, id: string): Promise<Done> {
  const body = (await call({ method: 'POST', path: deliveryPath(id, 'replay') })) as ShownDelivery
  return {
    body,
    text: `${id} is delivered once more, as ${body.id}; gatepost webhooks deliveries ${body.id}\n`,
  }
}

function webhookPath(id: string, action = ''): string {
  return `/api/webhooks/${encodeURIComponent(id)}${action && `/${action}`}`
}

function deliveryPath(id: string, action = ''): string {
  return `/api/deliveries/${encodeURIComponent(id)}${action && `/${action}`}`
}

function secretText({ secret }: WithSecret): string {
  return `The secret, shown only now; hand it to the receiver:

${secret}

The receiver verifies webhook-signature with a library of Standard Webhooks, or x-webhook-signature, which is
sha256= and the HMAC-SHA256 of the body's bytes in hex (docs/webhooks.md has both in a few lines).
`
}

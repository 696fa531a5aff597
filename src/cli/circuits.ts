import { exitCodes } from '../core/exit-codes.ts'
import type { Options } from './arguments.ts'
import { type AdminCommandParts, type Call, Refused, runAdminCommand, table } from './ask.ts'

/** A circuit as the API shows it, as far as it is shown to people. */
interface ShownCircuit {
  service: string
  state: string
  since: string
  own_state: string
  retry_at?: string
  window: { requests: number; failures: number; slow: number }
  last_trip?: { cause: string; count: number; threshold: number }
  override?: { state: string; reason: string; until: string }
  unobserved: boolean
}

interface Done {
  /** For machines, as the API answered. */
  body: unknown
  /** For people. */
  text: string
}

const orders: Readonly<Record<string, string>> = { open: 'open', close: 'closed', clear: 'none' }

/**
 * `gatepost circuits [ACTION]`: circuits of the Gatepost that runs on the admin address.
 * @returns the exit code.
 */
export function circuitsCommand(
  action: string,
  [service = '']: readonly string[],
  options: Options,
  parts: AdminCommandParts,
): Promise<number> {
  return runAdminCommand('circuits', parts, async (call) => {
    const { body, text } = action === 'list' ? await list(call) : await order(call, action, service, options)
    return { text: options['json'] ? `${JSON.stringify(body, null, 2)}\n` : text }
  })
}

async function list(call: Call): Promise<Done> {
  const body = (await call({ method: 'GET', path: '/api/circuits' })) as { circuits: ShownCircuit[] }
  if (body.circuits.length === 0) {
    return { body, text: 'There are no circuits: no route names a service and a circuit\n' }
  }
  const head = ['SERVICE', 'STATE', 'SINCE', 'REQUESTS', 'FAILURES', 'SLOW', 'NOTES']
  return { body, text: table(head, body.circuits.map(rowOf)) }
}

function rowOf(circuit: ShownCircuit): string[] {
  const { requests, failures, slow } = circuit.window
  return [
    circuit.service,
    circuit.state,
    circuit.since,
    String(requests),
    String(failures),
    String(slow),
    notesOf(circuit).join('; '),
  ]
}

function notesOf({
  override,
  own_state,
  last_trip: trip,
  retry_at,
  state,
  unobserved,
}: ShownCircuit): string[] {
  const held =
    override &&
    `held ${override.state} until ${override.until} (${override.reason}), by itself it would be ${own_state}`
  const tripped =
    !override && state !== 'closed' && trip && `${trip.cause}: ${trip.count} of ${trip.threshold}`
  return [
    held,
    tripped,
    retry_at && `next request at ${retry_at}`,
    unobserved && 'nobody tells how requests end',
  ].filter((note) => typeof note === 'string' && note !== '') as string[]
}

async function order(call: Call, action: string, service: string, options: Options): Promise<Done> {
  const override = orders[action]
  if (override === undefined) throw new Refused(`There is no circuits ${action}`, exitCodes.usage)
  const { reason, for: lasts } = options
  if (override !== 'none' && reason === undefined) {
    throw new Refused('Say why, for whoever finds it: --reason TEXT', exitCodes.usage)
  }
  const body = (await call({
    method: 'POST',
    path: `/api/circuits/${encodeURIComponent(service)}`,
    body: { override, ...(reason !== undefined && { reason }), ...(lasts !== undefined && { for: lasts }) },
  })) as ShownCircuit
  const until = body.override ? ` until ${body.override.until}` : ', as it finds by itself'
  return { body, text: `The circuit of ${service} is ${body.state}${until}\n` }
}

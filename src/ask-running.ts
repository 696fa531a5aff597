import { readAdminToken } from './admin/token.ts'
import type { AdminAnswer, AdminRequest, AskAdmin } from './cli/ask.ts'
import type { AdminSettings } from './config/admin-settings.ts'
import { CannotStart } from './core/cannot-start.ts'
import type { ExplainRequest } from './core/explain-request.ts'
import type { Explanation } from './core/explanation.ts'
import { showAddress } from './core/listen.ts'

/** How long the running Gatepost may take, in milliseconds, where nothing else is said: it may have to ask issuers. */
const patienceMs = 10_000

/**
 * Makes a way to ask the Gatepost that runs on the admin address. What it makes answers undefined where nothing listens
 * there, and throws CannotStart where it does not answer in time, or does not take the token.
 */
export function createAskAdmin({ admin: { address, token }, dataDir }: AdminSettings): AskAdmin {
  return async ({ method, path, body, limitMs = patienceMs }: AdminRequest) => {
    const shown = token?.() ?? readAdminToken(dataDir)
    const response = await fetch(`http://${showAddress(address)}${path}`, {
      method,
      headers: {
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(shown && { authorization: `Bearer ${shown}` }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(limitMs),
    }).catch(unlessRefused)
    if (!response) return undefined
    const told: unknown = await response.json().catch(() => undefined)
    if (response.status !== 401) return { status: response.status, body: told }
    throw cannotAsk(
      address,
      'it does not take the admin token; is GATEPOST_DATA_DIR or GATEPOST_ADMIN_TOKEN the same?',
      response.status,
    )
  }
}

/**
 * Asks the Gatepost that runs on the admin address for an explanation.
 * @returns undefined where nothing listens there.
 * @throws CannotStart where it does not answer as a Gatepost should, or does not take the token.
 */
export async function askRunning(
  settings: AdminSettings,
  request: ExplainRequest,
): Promise<Explanation | undefined> {
  const ask = createAskAdmin(settings)
  const answer = await ask({ method: 'POST', path: '/api/explain', body: request })
  if (!answer) return undefined
  if (answer.status === 200 && isExplanation(answer.body)) return answer.body
  throw cannotAsk(settings.admin.address, whyNot(answer), answer.status)
}

function isExplanation(told: unknown): told is Explanation {
  return typeof told === 'object' && told !== null && 'verdict' in told && 'steps' in told
}

function whyNot({ status, body }: AdminAnswer): string {
  if (status === 200) return 'what answers there is no gatepost that explains'
  const { title } = (body ?? {}) as { title?: unknown }
  return typeof title === 'string' ? `status ${status}, ${title}` : `status ${status}`
}

function cannotAsk(address: AdminSettings['admin']['address'], why: string, cause: unknown): CannotStart {
  return new CannotStart(
    `GATEPOST_ADMIN_ADDRESS: cannot ask the gatepost on ${showAddress(address)}: ${why}`,
    cause,
  )
}

function unlessRefused(error: unknown): undefined {
  const { cause } = error as { cause?: { code?: string; message?: string } }
  if (cause?.code === 'ECONNREFUSED') return undefined
  throw new CannotStart(
    `GATEPOST_ADMIN_ADDRESS: no answer: ${cause?.code ?? cause?.message ?? (error as Error).message}`,
    error,
  )
}

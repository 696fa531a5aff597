import { readAdminToken } from './admin/token.ts'
import type { Settings } from './config/settings.ts'
import { CannotStart } from './core/cannot-start.ts'
import type { Explanation } from './core/explanation.ts'
import type { ExplainRequest } from './core/explain-request.ts'
import { showAddress } from './core/listen.ts'

/** How long the running Gatepost may take, in milliseconds: it may have to ask issuers. */
const patienceMs = 10_000

/**
 * Asks the Gatepost that runs on the admin address for an explanation.
 * @returns undefined where nothing listens there.
 * @throws CannotStart where it does not answer as a Gatepost should, or does not take the token.
 */
export async function askRunning(
  { address, token }: Settings['admin'],
  dataDir: string,
  request: ExplainRequest,
): Promise<Explanation | undefined> {
  const url = `http://${showAddress(address)}/api/explain`
  const shown = token?.() ?? readAdminToken(dataDir)
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(shown && { authorization: `Bearer ${shown}` }) },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(patienceMs),
  }).catch(unlessRefused)
  if (!response) return undefined
  const told: unknown = await response.json().catch(() => undefined)
  if (response.ok && isExplanation(told)) return told
  throw new CannotStart(
    `GATEPOST_ADMIN_ADDRESS: cannot ask the gatepost on ${showAddress(address)}: ${whyNot(response, told)}`,
    response.status,
  )
}

function isExplanation(told: unknown): told is Explanation {
  return typeof told === 'object' && told !== null && 'verdict' in told && 'steps' in told
}

function whyNot({ ok, status }: Response, told: unknown): string {
  if (ok) return 'what answers there is no gatepost that explains'
  if (status === 401)
    return 'it does not take the admin token; is GATEPOST_DATA_DIR or GATEPOST_ADMIN_TOKEN the same?'
  const { title } = (told ?? {}) as { title?: unknown }
  return typeof title === 'string' ? `status ${status}, ${title}` : `status ${status}`
}

function unlessRefused(error: unknown): undefined {
  const { cause } = error as { cause?: { code?: string } }
  if (cause?.code === 'ECONNREFUSED') return undefined
  throw new CannotStart(
    `GATEPOST_ADMIN_ADDRESS: no answer: ${cause?.code ?? (error as Error).message}`,
    error,
  )
}

import { readAdminToken } from './admin/token.ts'
import type { Settings } from './config/settings.ts'
import { CannotStart } from './core/cannot-start.ts'
import type { Explanation } from './core/explain.ts'
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
  if (response.ok) return (await response.json()) as Explanation
  const why =
    response.status === 401
      ? 'it does not take the admin token; is GATEPOST_DATA_DIR or GATEPOST_ADMIN_TOKEN the same?'
      : `status ${response.status}`
  throw new CannotStart(
    `GATEPOST_ADMIN_ADDRESS: cannot ask the gatepost on ${showAddress(address)}: ${why}`,
    response.status,
  )
}

function unlessRefused(error: unknown): undefined {
  const { cause } = error as { cause?: { code?: string } }
  if (cause?.code === 'ECONNREFUSED') return undefined
  throw new CannotStart(
    `GATEPOST_ADMIN_ADDRESS: no answer: ${cause?.code ?? (error as Error).message}`,
    error,
  )
}

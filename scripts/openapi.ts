import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createApi } from '../src/admin/server.ts'
import { nearest } from '../src/config/nearest.ts'
import { webhookBodies } from '../src/config/webhook-bodies.ts'
import type { WebhookAdmin } from '../src/core/webhook-admin.ts'

/** The description on disk. */
export const openApiPath = fileURLToPath(new URL('../docs/openapi.json', import.meta.url))

const unasked = () => {
  throw new Error('Cannot answer: nothing stands behind this API, it is only described')
}

/** The description of the admin API as a file (OpenAPI 3.1). */
export async function openApiText(): Promise<string> {
  const api = await createApi(
    {
      readiness: unasked,
      metrics: unasked,
      explain: unasked,
      circuits: { list: unasked, override: unasked },
      webhooks: { admin: {} as WebhookAdmin, bodies: webhookBodies },
      nearest,
      logger: { debug: unasked, info: unasked, warn: unasked, error: unasked },
    },
    async () => undefined,
  )
  try {
    await api.ready()
    return `${JSON.stringify(api.swagger(), null, 2)}\n`
  } finally {
    await api.close()
  }
}

if (import.meta.main) writeFileSync(openApiPath, await openApiText())

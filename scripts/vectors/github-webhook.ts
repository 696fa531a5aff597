import { signatureHeaders } from '../../src/webhooks/signing.ts'
import { outcomeOf, readJson, unless, type VectorSet } from './report.ts'

interface Row {
  secret: string
  payload: string
  expected: string
}

/** GitHub's `X-Hub-Signature-256`, whose form `x-webhook-signature` has. */
export const githubWebhook: VectorSet = {
  entry: 'github-webhook.json',
  async run(path) {
    const { vectors } = readJson<{ vectors: Row[] }>(path)
    return {
      outcomes: await Promise.all(vectors.map((row, at) => outcomeOf(`row ${at + 1}`, () => check(row)))),
    }
  },
}

function check({ secret, payload, expected }: Row): string | undefined {
  const headers = signatureHeaders({ id: 'row', atMs: 0, body: Buffer.from(payload) }, [secret])
  return unless(headers['x-webhook-signature'], expected)
}

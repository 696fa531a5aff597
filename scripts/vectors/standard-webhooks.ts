import { Webhook } from 'standardwebhooks'
import { isWebhookSecret } from '../../src/core/webhooks.ts'
import { type SignatureHeaders, signatureHeaders } from '../../src/webhooks/signing.ts'
import { type Outcome, outcomeOf, readJson, unless, type VectorSet } from './report.ts'

interface Row {
  scheme: string
  secret: string
  id: string
  timestamp: number
  payload: string
  expected: string
}

interface Rows {
  sign: Row[]
  /** What a receiver must refuse, or take, in words. */
  reject: string[]
  accept: string[]
}

/** Whether a receiver with the suite's own library takes what we sent, after somebody has changed it on the way. */
type Check = (row: Row) => string | undefined

const changed = (change: (headers: SignatureHeaders) => Record<string, string>): Check => {
  return (row) => unless(takes(row.secret, change(signed(row)), row.payload), false)
}

const secondsOff = (seconds: number): Check => {
  return (row) => unless(takes(row.secret, signed(row, Date.now() + seconds * 1_000), row.payload), false)
}

/** The rows are words: what each is held against. A row that stands in neither table is a failure. */
const rejections: Readonly<Record<string, Check>> = {
  'empty secret': () => unless(isWebhookSecret(''), false),
  "secret 'whsec_' alone": () => unless(isWebhookSecret('whsec_'), false),
  'missing webhook-id': changed(({ 'webhook-id': _, ...rest }) => rest),
  'missing webhook-timestamp': changed(({ 'webhook-timestamp': _, ...rest }) => rest),
  'missing webhook-signature': changed(({ 'webhook-signature': _, ...rest }) => rest),
  'non-numeric timestamp': changed((headers) => ({ ...headers, 'webhook-timestamp': 'hello' })),
  "wrong signature 'v1,dawfeoifkpqwoekfpqoekf'": changed((headers) => ({
    ...headers,
    'webhook-signature': 'v1,dawfeoifkpqwoekfpqoekf',
  })),
  'signature truncated to 8 chars': changed((headers) => ({
    ...headers,
    'webhook-signature': headers['webhook-signature'].slice(0, 8),
  })),
  "'v1,' with empty value": changed((headers) => ({ ...headers, 'webhook-signature': 'v1,' })),
  'timestamp older than now-300s': secondsOff(-310),
  'timestamp newer than now+300s': secondsOff(310),
}

const acceptances: Readonly<Record<string, Check>> = {
  "space-separated list with one valid v1 among 'v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=' and 'v2,...'":
    (row) => {
      const headers = signed(row)
      const list = `v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= ${headers['webhook-signature']} v2,Ceo5`
      return unless(takes(row.secret, { ...headers, 'webhook-signature': list }, row.payload), true)
    },
  'secret with and without whsec_ prefix': (row) => {
    const verdicts = [row.secret, row.secret.replace('whsec_', '')].map((secret) =>
      takes(secret, signed(row), row.payload),
    )
    return unless(verdicts.join(), 'true,true')
  },
  'empty payload with correct signature': (row) => {
    const empty = { ...row, payload: '' }
    return unless(takes(row.secret, signed(empty), ''), true)
  },
}

/** Standard Webhooks 1.0: our signatures against its vectors, and what we send against its own receiver. */
export const standardWebhooks: VectorSet = {
  entry: 'standard-webhooks.json',
  async run(path) {
    const { sign, reject, accept } = readJson<Rows>(path)
    const symmetric = sign.filter(({ scheme }) => scheme === 'v1')
    const [row] = symmetric
    if (!row) return { outcomes: [] }
    const inWords = (names: readonly string[], checks: Readonly<Record<string, Check>>): Promise<Outcome>[] =>
      names.map((name) => outcomeOf(name, () => checks[name]?.(row) ?? known(name, checks)))
    return {
      outcomes: await Promise.all([
        ...symmetric.map((each) => outcomeOf(`sign ${each.id}`, () => checkSignature(each))),
        ...inWords(reject, rejections),
        ...inWords(accept, acceptances),
      ]),
      leftOut: sign
        .filter(({ scheme }) => scheme !== 'v1')
        .map(({ scheme, id }) => ({ name: `sign ${id}`, why: `${scheme} is asymmetric, and not offered` })),
    }
  },
}

function known(name: string, checks: Readonly<Record<string, Check>>): string | undefined {
  return name in checks ? undefined : 'nothing is known of this row'
}

function checkSignature(row: Row): string | undefined {
  return unless(signed(row, row.timestamp * 1_000)['webhook-signature'], row.expected)
}

function signed({ id, payload, secret }: Row, atMs = Date.now()): SignatureHeaders {
  return signatureHeaders({ id, atMs, body: Buffer.from(payload) }, [secret])
}

function takes(secret: string, headers: Readonly<Record<string, string>>, payload: string): boolean {
  try {
    new Webhook(secret).verify(payload, { ...headers })
    return true
  } catch {
    return false
  }
}

import { statSync } from 'node:fs'
import { exitCodes } from '../src/core/exit-codes.ts'
import { bearerErrors } from './vectors/bearer-errors.ts'
import { checkRequests } from './vectors/check-requests.ts'
import { envoyJwtAuthn } from './vectors/envoy-jwt-authn.ts'
import { gcra } from './vectors/gcra.ts'
import { githubWebhook } from './vectors/github-webhook.ts'
import { joseCookbook } from './vectors/jose-cookbook.ts'
import { pathNormalization } from './vectors/path-normalization.ts'
import { runVectors } from './vectors/run.ts'
import { standardWebhooks } from './vectors/standard-webhooks.ts'

/** Every set of public vectors that Gatepost is held against. */
const sets = [
  joseCookbook,
  envoyJwtAuthn,
  bearerErrors,
  checkRequests,
  gcra,
  pathNormalization,
  standardWebhooks,
  githubWebhook,
]

process.exitCode = await main(process.argv.slice(2))

async function main([dir, ...more]: readonly string[]): Promise<number> {
  if (dir === undefined || more.length > 0) {
    return misuse('Usage: npm run test:vectors -- DIR, where DIR is a folder of public test vectors')
  }
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
    return misuse(`Cannot run the vectors: ${JSON.stringify(dir)} is no folder`)
  }
  const { failed } = await runVectors(dir, sets, (line) => process.stdout.write(`${line}\n`))
  return failed === 0 ? exitCodes.ok : exitCodes.failed
}

function misuse(problem: string): number {
  process.stderr.write(`${problem}\n`)
  return exitCodes.usage
}

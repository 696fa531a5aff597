import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { answerBounds, keyCalls, refusalTtlMs, requestWaitMs, tokenCalls } from '../src/app-auth.ts'
import { apiKeyIssuer } from '../src/auth/api-keys.ts'
import { certificateIssuer } from '../src/auth/certificates.ts'
import { keySetTimes } from '../src/auth/key-set.ts'
import { profileClaims } from '../src/auth/userinfo.ts'
import { denials } from '../src/core/denials.ts'
import { identityHeaderNames, profileHeader } from '../src/core/identity.ts'
import { bearer, type Outcome, precedence } from '../test/auth/precedence-table.ts'
import { providerFaults, seenDuring } from '../test/e2e/provider-faults-table.ts'
import { code, fillSections, type Sections, table } from './sections.ts'

/** The page on disk. */
export const pagePath = fileURLToPath(new URL('../docs/credentials.md', import.meta.url))

const sections: Sections = {
  precedence: () =>
    table(
      [
        '`authorization` holds',
        'API key',
        'certificate',
        'auth `required`',
        'auth `optional`',
        'auth `none`',
      ],
      precedence.map(({ authorization, key, certificate, outcome }) => [
        oneOf(
          bearer.every((token) => authorization.includes(token))
            ? ['absent', 'any one token']
            : authorization,
        ),
        oneOf(key),
        oneOf(certificate),
        show(outcome.required),
        show(outcome.optional),
        show(outcome.none),
      ]),
    ),
  identity: () =>
    table(
      ['header', 'from a token', 'from an API key', 'from a certificate'],
      identityHeaderNames.map((name) => [code(name), ...identitySources[name]]),
    ),
  profile: () =>
    table(
      ['claim', 'header'],
      profileClaims.map((claim) => [code(claim), code(profileHeader(claim))]),
    ),
  calls: () =>
    table(
      [
        'call (the label `target`)',
        'a request waits',
        'each attempt has',
        'attempts',
        'between them',
        'at once, and waiting',
        'circuit opens after',
        'for',
        'answer at the most',
      ],
      [
        callRow('a key set and its discovery document (`ISSUER.keys`)', keySetTimes.requestWaitMs, keyCalls),
        callRow(
          'introspection, and its discovery document (`ISSUER.introspection`)',
          requestWaitMs,
          tokenCalls,
        ),
        callRow('userinfo, and its discovery document (`ISSUER.userinfo`)', requestWaitMs, tokenCalls),
      ],
    ),
  times: () =>
    table(
      ['what', 'time'],
      [
        ['keys are refreshed in the background every', duration(keySetTimes.refreshMs)],
        [
          'after a failure they are fetched again after (doubled each time, up to the refresh)',
          duration(keySetTimes.retryMs),
        ],
        ['unknown key ids cause a fetch at most once in', duration(keySetTimes.unknownKeyCooldownMs)],
        ['the last good keys serve while the issuer is down for', duration(keySetTimes.maxStaleMs)],
        ['a refusal by introspection or userinfo is remembered for', duration(refusalTtlMs)],
      ],
    ),
  faults: () =>
    table(
      [
        'the provider, or the way to it',
        'JWT, no keys loaded yet',
        'opaque token',
        'invented token',
        'userinfo',
      ],
      providerFaults.map((fault) => {
        const { jwt, opaque, unknown, userinfo } = seenDuring[fault]
        return [fault, ...[jwt, opaque, unknown, userinfo].map(code)]
      }),
    ),
}

/** What fills each identity header: of a token, of an API key, of a certificate. */
const identitySources: Readonly<Record<(typeof identityHeaderNames)[number], readonly string[]>> = {
  'x-user-id': ['`sub`', '–', '–'],
  'x-client-id': [
    'the first of `client_id`, `azp`, `cid`',
    '`client_id` of its entry',
    'its first URI SAN, else its subject',
  ],
  'x-auth-scopes': ['`scope`, `scp` and `permissions` together', '`scopes` of its entry', '–'],
  'x-auth-issuer': ['`iss`', code(apiKeyIssuer), code(certificateIssuer)],
}

function oneOf(values: readonly string[] | 'any'): string {
  return values === 'any' ? 'any' : values.join(', or ')
}

const callers: Readonly<Record<string, string>> = {
  token: 'the token’s identity',
  key: 'the key’s identity',
  certificate: 'the certificate’s identity',
  anonymous: 'anonymous',
}

function show(outcome: Outcome): string {
  const caller = callers[outcome]
  if (caller !== undefined) return caller
  const { httpStatus } = denials[outcome as keyof typeof denials]
  return `${httpStatus} ${code(outcome)}`
}

function callRow(call: string, waitMs: number, options: typeof keyCalls): string[] {
  const { timeoutMs, attempts, backoffMs, maxBackoffMs, maxConcurrent, maxQueued, breakAfter, openMs } =
    options
  return [
    call,
    duration(waitMs),
    duration(timeoutMs),
    String(attempts),
    attempts > 1 ? `${duration(backoffMs)} to ${duration(maxBackoffMs)}, jittered` : '–',
    `${maxConcurrent}, ${maxQueued}`,
    `${breakAfter} failures in a row`,
    duration(openMs),
    `${answerBounds.maxBytes / 1024} KiB`,
  ]
}

function duration(ms: number): string {
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000} h`
  if (ms % 60_000 === 0) return `${ms / 60_000} min`
  return ms % 1_000 === 0 ? `${ms / 1_000} s` : `${ms} ms`
}

/** Fills the generated tables of the page. @throws Error where it has a section that nothing fills, or lacks one. */
export function fillPage(page: string): string {
  return fillSections(page, sections)
}

if (import.meta.main) writeFileSync(pagePath, fillPage(readFileSync(pagePath, 'utf8')))

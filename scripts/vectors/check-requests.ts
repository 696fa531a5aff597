import { isDeepStrictEqual } from 'node:util'
import type { Type } from 'protobufjs'
import type { Environment } from '../../src/config/environment.ts'
import { readSettings } from '../../src/config/settings.ts'
import type { CheckResponse__Output } from '../../src/envoy/gen/envoy/service/auth/v3/CheckResponse.ts'
import { loadProtos } from '../../src/envoy/protos.ts'
import { fullDefinitions, load } from '../../test/envoy/compare-protos.ts'
import { type ExtAuthzDoor, openExtAuthzDoor } from '../../test/support/ext-authz-door.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { type Outcome, outcomeOf, readJson, unless, type VectorSet } from './report.ts'

interface Sample {
  name: string
  checkRequest: { attributes?: { request?: { http?: Record<string, unknown> } } }
}

/** What a door reads of a request; the rest of a sample is skipped on the wire. */
const fieldsOfOurs = ['id', 'method', 'headers', 'path', 'host', 'scheme', 'protocol']

const proto = 'envoy/service/auth/v3/external_auth.proto'

/**
 * CheckRequests as another policy engine tests itself with. Each is written in bytes by Envoy's own full definitions,
 * as Envoy would write it, and read by ours.
 */
export const checkRequests: VectorSet = {
  entry: 'ext-authz-checkrequests.json',
  async run(path) {
    const { cases } = readJson<{ cases: Sample[] }>(path)
    const full = load([proto], fullDefinitions).lookupType('envoy.service.auth.v3.CheckRequest')
    const open = doorOf({ GATEPOST_AUTH: 'none' })
    const closed = doorOf({
      GATEPOST_AUTH: 'required',
      OIDC_ISSUER: 'https://login.example.com/',
      OIDC_AUDIENCE: 'https://api.example.com',
    })
    const outcomes = cases.map((sample) => check(sample, full, open, closed))
    return { outcomes: (await Promise.all(outcomes)).flat() }
  },
}

function doorOf(environment: Environment): ExtAuthzDoor {
  const read = readSettings(environment)
  if (read.kind === 'problems') throw new Error(read.problems.join('; '))
  return openExtAuthzDoor({ clock: new FakeClock(), ...read.settings.policy.first.routes.defaults })
}

function check(
  { name, checkRequest }: Sample,
  full: Type,
  open: ExtAuthzDoor,
  closed: ExtAuthzDoor,
): Promise<Outcome[]> {
  const bytes = full.encode(full.fromObject(checkRequest)).finish()
  const verdict = async (door: ExtAuthzDoor) => verdictOf(await door.checkBytes(bytes))
  return Promise.all([
    outcomeOf(`${name} is read`, () => difference(checkRequest, full, bytes)),
    outcomeOf(`${name}, GATEPOST_AUTH=none`, async () => unless(await verdict(open), 'allow')),
    outcomeOf(`${name}, GATEPOST_AUTH=required`, async () => unless(await verdict(closed), 'Unauthorized')),
  ])
}

/** Looks for what was lost: between the sample and the bytes, and between the bytes and what a door reads. */
function difference(sample: Sample['checkRequest'], full: Type, bytes: Uint8Array): string | undefined {
  const held = full.toObject(full.decode(bytes), { bytes: String, longs: Number })
  if (!isDeepStrictEqual(held, withoutEmptyTexts(sample))) return 'the bytes do not hold the whole sample'
  const sent = sample.attributes?.request?.http ?? {}
  const expected = Object.fromEntries(Object.entries(sent).filter(([field]) => fieldsOfOurs.includes(field)))
  const read = loadProtos().Authorization.Check.requestDeserialize(Buffer.from(bytes)).attributes?.request
    ?.http
  return unless(JSON.stringify(read), JSON.stringify(expected))
}

/** On the wire of proto3 an empty text is an absent one. */
function withoutEmptyTexts(sample: Sample['checkRequest']): unknown {
  return JSON.parse(JSON.stringify(sample, (_key, value) => (value === '' ? undefined : value)))
}

function verdictOf({ ok_response, denied_response }: CheckResponse__Output): string {
  return ok_response ? 'allow' : `${denied_response?.status?.code}`
}

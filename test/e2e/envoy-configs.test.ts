import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { attachments } from '../../demo/stack.ts'
import { envoyVersions, newestEnvoy, validateEnvoyConfig } from '../support/envoy.ts'
import { bundledConfig } from '../support/envoy-config.ts'
import { tempFolder } from '../support/temp.ts'

const INSTALL_AND_VALIDATE_MS = 300_000
const folder = fileURLToPath(new URL('../../envoy/', import.meta.url))
const configs = readdirSync(folder).filter((name) => name.endsWith('.yaml'))

/** `TEST_ENVOY_VERSIONS`: a list by comma, or `all`. Default: the newest. */
function versionsToTest(): readonly string[] {
  const asked = process.env['TEST_ENVOY_VERSIONS'] ?? newestEnvoy
  return asked === 'all' ? envoyVersions : asked.split(',')
}

const cases = versionsToTest().flatMap((version) => configs.map((config) => [config, version] as const))

test.each(cases)(
  'envoy/%s is valid on Envoy %s',
  async (config, version) => {
    await validateEnvoyConfig(`${folder}${config}`, version)
  },
  INSTALL_AND_VALIDATE_MS,
)

test(
  'a field that Envoy does not know is refused',
  async () => {
    await using scratch = await tempFolder('invalid')
    const file = `${scratch.path}/invalid.yaml`
    await writeFile(file, 'static_resources: { no_such_field: 1 }\n')

    await expect(validateEnvoyConfig(file)).rejects.toThrow('no_such_field')
  },
  INSTALL_AND_VALIDATE_MS,
)

test('every bundled configuration has its tour in the demo', () => {
  expect(configs).toEqual(attachments.map((name) => `${name}.yaml`))
})

// What closes a way around the decision or bounds a client, and how Gatepost is reached: the same in every file.
const guards = [
  'use_remote_address',
  'normalize_path',
  'merge_slashes',
  'path_with_escaped_slashes_action',
  'common_http_protocol_options',
  'early_header_mutation_extensions',
  'http2_protocol_options',
  'request_headers_timeout',
  'request_timeout',
  'stream_idle_timeout',
] as const

interface AccessLogger {
  typed_config: unknown
}

async function guardsOf(name: string) {
  const { static_resources, admin, ...others } = await bundledConfig(name)
  const [listener] = static_resources.listeners
  const manager = listener?.filter_chains[0]?.filters[0]?.typed_config ?? {}
  const accessLog = manager['access_log'] as AccessLogger[] | undefined
  return {
    listener: { ...listener, filter_chains: undefined },
    manager: Object.fromEntries(guards.map((guard) => [guard, manager[guard]])),
    accessLog: accessLog?.map(({ typed_config }) => typed_config),
    gatepost: static_resources.clusters.find((cluster) => cluster.name === 'gatepost'),
    admin,
    others,
  }
}

test.each(attachments)('envoy/%s.yaml guards as envoy/ext-authz.yaml does', async (name) => {
  const { manager, ...rest } = await guardsOf(name)

  expect(Object.values(manager)).not.toContain(undefined)
  expect({ manager, ...rest }).toEqual(await guardsOf('ext-authz'))
})

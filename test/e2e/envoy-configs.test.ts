import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { envoyVersions, newestEnvoy, validateEnvoyConfig } from '../support/envoy.ts'
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

import { readFileSync, writeFileSync } from 'node:fs'
import { composeEnvoyConfig } from './compose/envoy-config.ts'

const file = (path: string) => new URL(`../${path}`, import.meta.url)

writeFileSync(
  file('deploy/envoy.yaml'),
  composeEnvoyConfig(readFileSync(file('envoy/ext-authz.yaml'), 'utf8')),
)

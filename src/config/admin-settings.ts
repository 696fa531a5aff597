import { type Environment, type Problem, readEnvironment, secretOf } from './environment.ts'
import type { Settings } from './settings.ts'

/** Where the Gatepost that runs is asked, and by what token. */
export type AdminSettings = Pick<Settings, 'admin' | 'dataDir'>

/**
 * Reads as much of the environment as it takes to ask the Gatepost that runs. Every variable must be fit by itself; whom
 * Gatepost would trust is not asked, so that a shell beside it needs no more than its address and its data folder.
 */
export function readAdminSettings(
  env: Environment,
): { kind: 'settings'; settings: AdminSettings } | { kind: 'problems'; problems: readonly Problem[] } {
  const { values, problems } = readEnvironment(env)
  if (problems.length > 0) return { kind: 'problems', problems }
  const token = secretOf('GATEPOST_ADMIN_TOKEN', values.GATEPOST_ADMIN_TOKEN, env)
  const admin = { address: values.GATEPOST_ADMIN_ADDRESS, ...(token && { token }) }
  return { kind: 'settings', settings: { admin, dataDir: values.GATEPOST_DATA_DIR } }
}

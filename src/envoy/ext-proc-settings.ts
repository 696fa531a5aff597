import { Fault } from '../core/fault.ts'
import type { RouteOverrides } from '../core/request.ts'
import { splitList } from '../core/routes.ts'

/** What an ext_proc filter is there for. It says so itself; nothing is inferred. */
export interface ProcRoles {
  decide: boolean
  observe: boolean
}

/** What the initial metadata of a stream says. */
export interface ProcSettings {
  roles: ProcRoles
  /** The settings of Envoy's route: the same keys as ext_authz's `context_extensions`. */
  overrides: RouteOverrides
}

const prefix = 'gatepost-'
const modeKey = `${prefix}mode`

/**
 * Reads `gatepost-mode` (`decide`, `observe` or `decide,observe`; default `decide`) and the other `gatepost-` keys.
 * @throws Fault where the mode is none of these: a typo must not take the decision away.
 */
export function readProcSettings(metadata: Readonly<Record<string, string>>): ProcSettings {
  const overrides: Record<string, string> = {}
  for (const [key, value] of Object.entries(metadata)) {
    if (key.startsWith(prefix) && key !== modeKey) overrides[key.slice(prefix.length)] = value
  }
  return { roles: readRoles(metadata[modeKey] ?? 'decide'), overrides }
}

function readRoles(mode: string): ProcRoles {
  const words = splitList(mode)
  if (words.length === 0 || words.some((word) => word !== 'decide' && word !== 'observe')) {
    throw new Fault(
      'door',
      `Cannot use gatepost-mode ${JSON.stringify(mode)}: decide, observe, or both by comma`,
    )
  }
  return { decide: words.includes('decide'), observe: words.includes('observe') }
}

import type { Settings } from './config/settings.ts'
import type { RouteSpec } from './core/routes.ts'

/** The most routes that a line names. */
const maxNamed = 5

/** What `gatepost check` says of circuits and shadow mode as they are configured, line by line. */
export function describeProtection({ policy, observer }: Pick<Settings, 'policy' | 'observer'>): string[] {
  const { defaults, routes } = policy.first.routes
  const specs = routes.length > 0 ? routes.map(({ spec }) => spec) : [defaults]
  const guarded = specs.filter(({ circuit }) => circuit !== undefined)
  const nameless = guarded.filter(({ service }) => service === undefined)
  const lines: string[] = []
  if (guarded.length > 0 && observer === 'none')
    lines.push('warning: circuits are configured and GATEPOST_OBSERVER is none: nothing will ever open them')
  if (nameless.length > 0)
    lines.push(`warning: no service, and so no circuit unless Envoy's route names one: ${namesOf(nameless)}`)
  const shadowed = specs.filter(({ shadow = [] }) => shadow.length > 0)
  if (shadowed.length > 0) lines.push(`shadow mode, nothing is refused by ${shadowOf(shadowed)}`)
  return lines
}

/** How circuits stand that are not simply closed, as `/readyz` of the running Gatepost tells it. */
export function describeRunningCircuits(
  circuits: Readonly<Record<string, { state: string; unobserved?: boolean }>>,
): string[] {
  return Object.entries(circuits).flatMap(([service, { state, unobserved }]) => [
    ...(state === 'closed' ? [] : [`circuit ${service}: ${state}`]),
    ...(unobserved ? [`warning: circuit ${service}: requests pass, and nobody tells how they end`] : []),
  ])
}

function namesOf(specs: readonly RouteSpec[]): string {
  const names = specs.slice(0, maxNamed).map(({ name }) => name)
  const more = specs.length - names.length
  return [...names, ...(more > 0 ? [`and ${more} more`] : [])].join(', ')
}

function shadowOf(specs: readonly RouteSpec[]): string {
  const parts = new Map<string, RouteSpec[]>()
  for (const spec of specs)
    for (const part of spec.shadow ?? []) parts.set(part, [...(parts.get(part) ?? []), spec])
  return [...parts].map(([part, of]) => `${part} on ${namesOf(of)}`).join('; ')
}

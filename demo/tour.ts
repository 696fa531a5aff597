import type { Credentials } from './credentials.ts'
import type { Stack } from './stack.ts'
import type { Section } from './tour-case.ts'
import { circuitSection } from './tour-circuits.ts'
import { credentialSection } from './tour-credentials.ts'
import { faultSection } from './tour-faults.ts'
import { fullSection } from './tour-full.ts'
import { limitSection } from './tour-limits.ts'
import { policySection } from './tour-policy.ts'
import { shadowSection } from './tour-shadow.ts'
import { tokenSection } from './tour-tokens.ts'

/** The tour: what Gatepost lets through, what it refuses and how, and what nobody can talk it into. */
export function tour(stack: Stack, credentials: Credentials): readonly Section[] {
  return [
    tokenSection(stack, credentials),
    credentialSection,
    limitSection,
    circuitSection(stack),
    policySection(stack, credentials),
    shadowSection(stack),
    ...(stack.attachment === 'full' ? [fullSection] : []),
    faultSection,
  ]
}

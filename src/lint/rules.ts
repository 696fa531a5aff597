import { decidingRules } from './deciding-rules.ts'
import { envoyRules } from './envoy-rules.ts'
import { istioRules } from './istio-rules.ts'
import { kubernetesRules } from './kubernetes-rules.ts'
import { routingRules } from './routing-rules.ts'
import type { Rule } from './rule.ts'

/** Every rule that looks at documents, in the order in which they are listed. */
export const rules: readonly Rule[] = [
  ...decidingRules,
  ...routingRules,
  ...envoyRules,
  ...istioRules,
  ...kubernetesRules,
]

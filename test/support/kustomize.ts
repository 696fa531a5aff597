import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import type { Progress } from './cache.ts'
import { goTool } from './go-tool.ts'
import type { KubernetesObject } from './kubernetes.ts'
import { run } from './process.ts'

/**
 * Builds a folder of the repository as `kubectl apply -k` would.
 * @param folder such as `kubernetes/overlays/sidecar`.
 * @returns the objects, in the order in which they can be applied, and the same as YAML.
 */
export async function kustomize(
  folder: string,
  progress?: Progress,
): Promise<{ objects: KubernetesObject[]; yaml: string }> {
  const home = await goTool({ name: 'kustomize', module: 'sigs.k8s.io/kustomize/kustomize/v5' }, progress)
  const path = fileURLToPath(new URL(`../../${folder}`, import.meta.url))
  const yaml = await run({
    name: `kustomize build ${folder}`,
    command: join(home, 'kustomize'),
    args: ['build', path],
  })
  return { objects: readObjects(yaml), yaml }
}

/** Reads objects from YAML with any number of documents; empty documents are left out. */
export function readObjects(yaml: string): KubernetesObject[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS() as KubernetesObject | null)
    .filter((object) => object !== null)
}

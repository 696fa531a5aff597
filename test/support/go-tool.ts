import { readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cached, type Progress } from './cache.ts'
import { run } from './process.ts'

/** From nothing, modules fetched and all compiled, on a machine that does something else as well. */
const buildLimitMs = 2_400_000

/** A component that Go builds from a module of its own, whose `go.mod` and `go.sum` pin all that goes into it. */
export interface GoComponent {
  /** The folder below `test/services`. */
  name: string
  /** The module whose version is the component's. */
  module: string
  /** Files kept beside the programs: each is made of YAML files of one of the component's modules, joined. */
  texts?: Readonly<Record<string, { module: string; paths: readonly string[] }>>
}

/**
 * The folder with the programs of a component, each named as Go names it: the cached one, else it is built. Programs on
 * PATH are not looked for: these versions belong together.
 * @throws with what was tried and what to do.
 */
export async function goTool(component: GoComponent, progress: Progress = () => {}): Promise<string> {
  const source = fileURLToPath(new URL(`../services/${component.name}`, import.meta.url))
  const version = await versionIn(source, component.module)
  try {
    return await cached(component.name, version, (folder) => build(component, source, folder, progress))
  } catch (cause) {
    throw new Error(
      `Cannot get ${component.name} ${version}: it is not in the cache, and \`go build\` failed in ` +
        `test/services/${component.name}. Install Go 1.26 or newer, and let it fetch modules.\n` +
        `${(cause as Error).message}`,
      { cause },
    )
  }
}

async function versionIn(source: string, module: string): Promise<string> {
  const text = await readFile(join(source, 'go.mod'), 'utf8')
  const found = text.match(new RegExp(`^\\s*(?:require )?${RegExp.escape(module)} (v\\S+)`, 'm'))?.[1]
  if (found !== undefined) return found
  throw new Error(`Cannot find the version of ${module} in ${source}/go.mod`)
}

async function build(
  { name, texts = {} }: GoComponent,
  source: string,
  folder: string,
  progress: Progress,
): Promise<void> {
  progress(`${name}: building, once; it takes up to ten minutes`)
  // Two at a time: Kubernetes and Istio need some gigabytes for each.
  const jobs = Math.min(2, availableParallelism())
  const args = [
    'build',
    `-p=${jobs}`,
    '-buildvcs=false',
    '-trimpath',
    '-ldflags=-s -w',
    '-o',
    `${folder}/`,
    'tool',
  ]
  await go(source, args)
  for (const [file, { module, paths }] of Object.entries(texts)) {
    const home = await go(source, ['list', '-m', '-f', '{{.Dir}}', module])
    const parts = await Promise.all(paths.map((path) => readFile(join(home, path), 'utf8')))
    await writeFile(join(folder, file), parts.join('\n---\n'))
  }
}

function go(source: string, args: readonly string[]): Promise<string> {
  return run({
    name: `go ${args[0]} in ${source}`,
    command: 'go',
    args,
    cwd: source,
    env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' },
    limitMs: buildLimitMs,
  })
}

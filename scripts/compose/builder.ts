import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { run } from '../../test/support/process.ts'
import type { Instruction, Stage } from './dockerfile.ts'

/** What stands for a `RUN` in a folder: the same outcome by what is there already, or the command itself. */
type Runner = (folder: string, root: string) => void | Promise<void>

/** `npm ci` needs a registry and a minute: the checkout has the same packages, by the same lock. */
const runners: Readonly<Record<string, Runner>> = {
  'npm ci': (folder, root) => symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules')),
  'npm ci --omit=dev --ignore-scripts': copyProductionPackages,
  'npm run build': async (folder) => {
    await run({
      name: 'npm run build',
      command: 'npm',
      args: ['run', 'build'],
      cwd: folder,
      limitMs: 120_000,
    })
  },
}

/**
 * Builds stages of the Dockerfile into folders, each of which stands for the `/app` of an image. Of what they `RUN`, only
 * what concerns `/app` is done; what the last stage does to the rest of its root is not.
 */
export class Builder {
  readonly #stages: ReadonlyMap<string, Stage>
  readonly #root: string
  readonly #into: string
  readonly #built = new Map<string, Promise<string>>()

  /**
   * @param root the checkout, which is the build's context.
   * @param into an empty folder for the stages.
   */
  constructor(stages: ReadonlyMap<string, Stage>, root: string, into: string) {
    this.#stages = stages
    this.#root = root
    this.#into = into
  }

  /** Builds a stage, once. @returns the folder that is its `/app`. */
  build(name: string): Promise<string> {
    const building = this.#built.get(name) ?? this.#build(name)
    this.#built.set(name, building)
    return building
  }

  async #build(name: string): Promise<string> {
    const stage = this.#stages.get(name)
    if (!stage) throw new Error(`Cannot build ${name}: the Dockerfile has no such stage`)
    // A stage that begins with another is that one's folder and what it adds: nobody needs the bare one beside it.
    const folder = this.#stages.has(stage.from) ? await this.build(stage.from) : join(this.#into, name)
    mkdirSync(folder, { recursive: true })
    for (const { keyword, rest } of stage.instructions) {
      if (keyword === 'COPY') await this.#copy(rest, folder)
      if (keyword === 'RUN') await runners[rest]?.(folder, this.#root)
    }
    return folder
  }

  async #copy(rest: string, folder: string): Promise<void> {
    const { from, sources, destination } = parseCopy(rest)
    const home = from === undefined ? this.#root : await this.build(from)
    for (const source of sources) {
      const path = join(home, source.replace(/^\/app\//, ''))
      cpSync(path, destinationOf(folder, destination, source), { recursive: true })
    }
  }
}

/** The parts of a `COPY`. */
function parseCopy(rest: string): {
  from: string | undefined
  sources: string[]
  destination: string
} {
  const words = rest.split(' ')
  const from = /^--from=(.+)$/.exec(words[0] ?? '')?.[1]
  const paths = from === undefined ? words : words.slice(1)
  return { from, sources: paths.slice(0, -1), destination: paths.at(-1) ?? '' }
}

/** The stages that a Dockerfile's `COPY` brings from the context, rather than from another stage. */
export function contextSources(instructions: readonly Instruction[]): string[] {
  return instructions
    .filter(({ keyword }) => keyword === 'COPY')
    .map(({ rest }) => parseCopy(rest))
    .flatMap(({ from, sources }) => (from === undefined ? sources : []))
}

function destinationOf(folder: string, destination: string, source: string): string {
  const isFolder = destination.endsWith('/')
  return normalize(join(folder, destination, isFolder ? (source.split('/').at(-1) ?? '') : ''))
}

interface Lock {
  packages: Record<string, { dev?: boolean; devOptional?: boolean }>
}

function copyProductionPackages(folder: string, root: string): void {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
  for (const [path, { dev, devOptional }] of Object.entries(lock.packages)) {
    const isWanted = path !== '' && !dev && !devOptional
    // A prebuilt binary of another platform is not there, and a package within a package has come along with it.
    if (!isWanted || !existsSync(join(root, path)) || existsSync(join(folder, path))) continue
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    cpSync(join(root, path), join(folder, path), { recursive: true, verbatimSymlinks: true })
  }
}

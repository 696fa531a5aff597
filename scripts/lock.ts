import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** One entry of `packages` in package-lock.json (lockfileVersion 3), as far as this script reads it. */
export type LockedPackage = {
  version?: string
  resolved?: string
  dev?: boolean
  optional?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
  optionalDependencies?: Record<string, string>
}

/** The entries by their folder: `''` is the project, the others are `…node_modules/NAME`. */
export type LockedPackages = Record<string, LockedPackage>

/** What restricts a package of prebuilt binaries to machines that can run it. */
export type Platform = { os: string[]; cpu: string[]; libc?: string[] }

const systems = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
]
const processors = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64']
const libraries = { gnu: 'glibc', glibc: 'glibc', musl: 'musl' } as const

/**
 * Adds the optional dependencies that npm left out because its registry has no file for them: `npm ci`
 * refuses a lock that lacks one, even where nothing would be installed from it.
 * @returns the folders added, in the order of the lock.
 * @throws if a missing one is wanted by a range or its name does not tell its platform.
 */
export function complete(packages: LockedPackages): string[] {
  return Object.keys(packages).flatMap((parent) => {
    const { optionalDependencies = {}, dev } = packages[parent] ?? {}
    return Object.entries(optionalDependencies)
      .filter(([name, version]) => isMissing(packages, parent, name, version))
      .map(([name, version]) => {
        const folder =
          `node_modules/${name}` in packages ? `${parent}/node_modules/${name}` : `node_modules/${name}`
        packages[folder] = {
          version: exact(name, version),
          ...(dev && { dev }),
          optional: true,
          ...platformOf(name),
        }
        return folder
      })
  })
}

/**
 * Reads the platform from the last parts of a package name such as `@swc/core-linux-x64-musl`.
 * @throws if no known system and processor stand in it.
 */
export function platformOf(name: string): Platform {
  const parts = name.split(/[-/]/)
  const os = systems.find((system) => parts.includes(system))
  const cpu = processors.find((processor) => parts.includes(processor))
  if (!os || !cpu) throw new Error(`Cannot lock ${name}: its name tells no known system and processor`)
  const libc = Object.entries(libraries).find(([part]) => parts.includes(part))?.[1]
  return { os: [os], cpu: [cpu], ...(libc && { libc: [libc] }) }
}

/** The lock's own order: by folder, the project first. */
export function sorted(packages: LockedPackages): LockedPackages {
  return Object.fromEntries(Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en')))
}

function isMissing(packages: LockedPackages, parent: string, name: string, version: string): boolean {
  const found = resolve(packages, parent, name)
  return found === undefined || (isExact(version) && found.version !== version)
}

/** Walks up from `parent` as Node.js does. */
function resolve(packages: LockedPackages, parent: string, name: string): LockedPackage | undefined {
  const found = packages[`${parent && `${parent}/`}node_modules/${name}`]
  if (found || parent === '') return found
  return resolve(packages, parent.slice(0, Math.max(0, parent.lastIndexOf('/node_modules/'))), name)
}

function exact(name: string, version: string): string {
  if (!isExact(version)) throw new Error(`Cannot lock ${name}: '${version}' is a range, not a version`)
  return version
}

function isExact(version: string): boolean {
  return /^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)
}

if (import.meta.main) {
  const path = fileURLToPath(new URL('../package-lock.json', import.meta.url))
  const lock = JSON.parse(readFileSync(path, 'utf8'))
  const added = complete(lock.packages)
  lock.packages = sorted(lock.packages)
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
  for (const folder of added) process.stdout.write(`${folder}\n`)
  process.stdout.write(`${added.length} optional dependencies added to package-lock.json\n`)
}

import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { freePort } from '../../test/support/ports.ts'
import type { Mount } from './compose-file.ts'

const own = ['127.0.0.1', '0.0.0.0', 'localhost']

/**
 * Where things of an arrangement are on one machine: each service's ports are free ones of loopback, volumes are folders,
 * and what is mounted from the checkout is a copy that says so.
 */
export class Places {
  readonly #root: string
  readonly #folder: string
  readonly #address: RegExp
  readonly #ports = new Map<string, Promise<number>>()

  /**
   * @param root the checkout.
   * @param folder an empty one for volumes and copies.
   * @param services the names that addresses may have.
   */
  constructor(root: string, folder: string, services: readonly string[]) {
    this.#root = root
    this.#folder = folder
    const hosts = [...services, ...own].map((host) => escaped(host)).join('|')
    // As in a URL or a list, in bash's /dev/tcp, and in Envoy's YAML.
    this.#address = new RegExp(`(?<![\\w.-])(${hosts})(:|/|, port_value: )(\\d{2,5})(?!\\d)`, 'g')
  }

  /** The port of loopback that stands for a port of a service. */
  port(service: string, port: number): Promise<number> {
    const key = `${service}:${port}`
    const known = this.#ports.get(key) ?? freePort()
    this.#ports.set(key, known)
    return known
  }

  /** The folder or file that stands for what is mounted, its addresses and paths rewritten as those of the service. */
  async mount(
    service: string,
    { source, target }: Mount,
    paths: ReadonlyMap<string, string>,
  ): Promise<string> {
    if (!source.startsWith('.')) {
      const volume = join(this.#folder, 'volumes', source)
      mkdirSync(volume, { recursive: true })
      return volume
    }
    const copy = join(this.#folder, 'mounts', service, target)
    mkdirSync(dirname(copy), { recursive: true })
    cpSync(resolve(this.#root, source), copy, { recursive: true })
    for (const file of filesBelow(copy)) {
      writeFileSync(file, await this.rewrite(service, readFileSync(file, 'utf8'), paths))
    }
    return copy
  }

  /** A text with every address, and every path that begins with one of `paths`, as it is here. */
  async rewrite(service: string, text: string, paths: ReadonlyMap<string, string>): Promise<string> {
    const ports = new Map<string, number>()
    for (const [found, host = '', , port] of text.matchAll(this.#address)) {
      ports.set(found, await this.port(own.includes(host) ? service : host, Number(port)))
    }
    const addressed = text.replaceAll(
      this.#address,
      (found, _host, between: string) => `127.0.0.1${between}${ports.get(found)}`,
    )
    const longestFirst = [...paths].sort(([one], [other]) => other.length - one.length)
    const inside = longestFirst.map(([path]) => escaped(path)).join('|')
    if (inside === '') return addressed
    return addressed.replaceAll(
      new RegExp(`(?<![\\w./-])(${inside})(?![\\w.-])`, 'g'),
      (path) => paths.get(path) ?? path,
    )
  }
}

/** For names and paths, in which no other character means anything to a pattern. */
function escaped(text: string): string {
  return text.replaceAll('.', '\\.')
}

function filesBelow(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

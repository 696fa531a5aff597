import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

const ABANDONED_AFTER_MS = 3_600_000

/** A line about what is being fetched or built, for a person who waits. */
export type Progress = (message: string) => void

/**
 * The folder of a component in the cache, installed on first use. Two processes may ask at once: both install, each
 * aside, the first to finish wins, and nobody ever sees half a component.
 * @param install puts the component into the folder it is given.
 */
export async function cached(
  component: string,
  version: string,
  install: (folder: string) => Promise<void>,
): Promise<string> {
  const parent = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'gatepost', component)
  const folder = join(parent, version)
  if (existsSync(folder)) return folder

  await mkdir(parent, { recursive: true })
  await removeAbandoned(parent)
  const aside = await mkdtemp(join(parent, '.partial-'))
  try {
    await install(aside)
    await moveUnlessThere(aside, folder)
  } finally {
    await rm(aside, { recursive: true, force: true })
  }
  return folder
}

async function moveUnlessThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    if (!existsSync(to)) throw error
  }
}

/** An install that was killed leaves its folder behind; one that is an hour old belongs to nobody. */
async function removeAbandoned(parent: string): Promise<void> {
  const partial = (await readdir(parent)).filter((name) => name.startsWith('.partial-'))
  for (const name of partial) {
    const path = join(parent, name)
    const { mtimeMs } = await stat(path)
    if (Date.now() - mtimeMs > ABANDONED_AFTER_MS) await rm(path, { recursive: true, force: true })
  }
}

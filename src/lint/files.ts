import type { Dirent } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { maxFileBytes, type Problem } from './document.ts'
import type { LintFile } from './lint.ts'

/** The most files of one run; more are a wrong folder. */
const maxFiles = 5_000

const extensions = /\.(ya?ml|json)$/

/** The name under which standard input is given and reported. */
const standardInput = '-'

/** What was read, and what could not be. */
export interface ReadFiles {
  files: readonly LintFile[]
  problems: readonly Problem[]
}

/**
 * Reads files as they are named, standard input for `-`, and of folders every `*.yaml`, `*.yml` and `*.json` in and below
 * them, sorted; hidden folders, `node_modules` and symbolic links within are left out. One that cannot be read is a problem.
 */
export async function readFiles(names: readonly string[], stdin: AsyncIterable<Buffer>): Promise<ReadFiles> {
  const files: LintFile[] = []
  const problems: Problem[] = []
  for (const name of new Set(names)) {
    try {
      const found = name === standardInput ? [name] : await expand(name)
      if (files.length + found.length > maxFiles) throw tooMany
      for (const file of found) files.push({ name: file, text: await read(file, stdin) })
    } catch (error) {
      problems.push({ file: name, message: `cannot be read: ${reason(error as NodeJS.ErrnoException)}` })
    }
  }
  return { files: [...new Map(files.map((file) => [file.name, file])).values()], problems }
}

/** A file as it is; a folder as the files in it. */
async function expand(name: string): Promise<string[]> {
  if (!(await stat(name)).isDirectory()) return [name]
  const found: string[] = []
  const folders = [name]
  for (const folder of folders) {
    const entries = await readdir(folder, { withFileTypes: true })
    found.push(...entries.filter(isWanted).map((entry) => join(folder, entry.name)))
    folders.push(...entries.filter(isEntered).map((entry) => join(folder, entry.name)))
    if (found.length > maxFiles || folders.length > maxFiles) throw tooMany
  }
  return found.sort()
}

const tooMany = new Error(`it holds more than ${maxFiles} files or folders`)

function isWanted(entry: Dirent): boolean {
  return entry.isFile() && extensions.test(entry.name)
}

function isEntered(entry: Dirent): boolean {
  return entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== 'node_modules'
}

/** One byte more than is looked at tells that a file is too large; the rest need not be in memory. */
async function read(file: string, stdin: AsyncIterable<Buffer>): Promise<string> {
  if (file === standardInput) return text(stdin)
  const handle = await open(file)
  try {
    return await text(handle.createReadStream({ autoClose: false, end: maxFileBytes }))
  } finally {
    await handle.close()
  }
}

async function text(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxFileBytes) break
  }
  return Buffer.concat(chunks).toString('utf8')
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  ENOTDIR: 'there is no such file',
}

function reason({ code = '', message }: NodeJS.ErrnoException): string {
  return reasons[code] ?? message
}

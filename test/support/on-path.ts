import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Where servers are installed to, and what the PATH of an ordinary user often leaves out. */
const systemFolders = ['/usr/local/sbin', '/usr/sbin']

/** The path of a command on PATH or in the system's own folders; undefined where there is none. */
export function findOnPath(command: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), ...systemFolders].filter(Boolean)
  return folders.map((folder) => join(folder, command)).find((path) => existsSync(path))
}

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder that is removed, with all it holds, by `remove()` or at the end of an `await using` scope. */
export interface TempFolder extends AsyncDisposable {
  path: string
  remove(): Promise<void>
}

/** Makes an empty folder under the system's temporary one. */
export async function tempFolder(purpose: string): Promise<TempFolder> {
  const path = await mkdtemp(join(tmpdir(), `gatepost-${purpose}-`))
  const remove = () => rm(path, { recursive: true, force: true })
  return { path, remove, [Symbol.asyncDispose]: remove }
}

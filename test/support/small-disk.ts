import { execFileSync } from 'node:child_process'
import { closeSync, openSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { tempFolder } from './temp.ts'

/** A file system of its own that a test can fill up. */
export interface SmallDisk extends AsyncDisposable {
  path: string
  /** Takes all the room that is left. */
  fill(): void
  /** Gives it back. */
  free(): void
  remount(how: 'ro' | 'rw'): void
}

/** Mounts a tmpfs of so many bytes, such as `4m`; it goes, whoever still uses it, at the end of an `await using` scope. */
export async function mountSmallDisk(size: string): Promise<SmallDisk> {
  const place = await tempFolder('disk')
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', place.path], { stdio: 'pipe' })
  } catch (cause) {
    await place.remove()
    throw new Error('Cannot try a full disk: mount -t tmpfs needs root (CAP_SYS_ADMIN in a container)', {
      cause,
    })
  }
  const filler = join(place.path, 'filler')
  return {
    path: place.path,
    fill: () => fillUp(filler),
    free: () => truncateSync(filler, 0),
    remount(how) {
      execFileSync('mount', ['-o', `remount,${how}`, place.path])
    },
    async [Symbol.asyncDispose]() {
      execFileSync('umount', ['--lazy', place.path])
      await place.remove()
    },
  }
}

function fillUp(path: string): void {
  const handle = openSync(path, 'w')
  const block = Buffer.alloc(4_096)
  try {
    while (true) writeSync(handle, block)
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOSPC') throw error
  } finally {
    closeSync(handle)
  }
}

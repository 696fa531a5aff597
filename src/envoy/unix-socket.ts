import { lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'

/**
 * Clears the way for a Unix socket: removes a socket file that an earlier, dead process left behind.
 * @throws Error with code EADDRINUSE where a living process answers there, and one without code where the file is no
 * socket.
 */
export async function clearDeadSocket(path: string): Promise<void> {
  const file = await lstat(path).catch(() => undefined)
  if (!file) return
  if (!file.isSocket()) throw new Error('a file that is no socket stands there')
  if (await answers(path)) {
    throw Object.assign(new Error('another process listens there'), { code: 'EADDRINUSE' })
  }
  await unlink(path)
}

function answers(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const socket = connect(path)
  socket.once('connect', () => resolve(true))
  socket.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
    else reject(error)
  })
  return promise.finally(() => socket.destroy())
}

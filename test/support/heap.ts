/**
 * The bytes of a process's heap that are in use once the garbage is collected, as its inspector tells.
 * The process must run with `--inspect`.
 * @param inspectorUrl what the process wrote: `ws://127.0.0.1:PORT/ID`.
 */
export async function collectedHeapBytes(inspectorUrl: string): Promise<number> {
  const socket = new WebSocket(inspectorUrl)
  const { promise: opened, resolve, reject } = Promise.withResolvers<void>()
  socket.addEventListener('open', () => resolve())
  socket.addEventListener('error', () => reject(new Error(`Cannot reach the inspector at ${inspectorUrl}`)))
  await opened
  try {
    await ask(socket, 1, 'HeapProfiler.collectGarbage')
    const { usedSize } = (await ask(socket, 2, 'Runtime.getHeapUsage')) as { usedSize: number }
    return usedSize
  } finally {
    socket.close()
  }
}

function ask(socket: WebSocket, id: number, method: string): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  socket.addEventListener('message', ({ data }) => {
    const { id: answered, result } = JSON.parse(String(data)) as { id?: number; result?: unknown }
    if (answered === id) resolve(result)
  })
  socket.addEventListener('close', () => reject(new Error(`Cannot ask ${method}: the inspector is gone`)))
  socket.send(JSON.stringify({ id, method }))
  return promise
}

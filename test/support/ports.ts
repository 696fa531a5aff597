import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'

/**
 * A TCP port of 127.0.0.1 that is free now. Another process may take it before you do: prefer port 0 wherever the
 * component can say which port it got.
 */
export async function freePort(): Promise<number> {
  const server = createServer()
  const port = await listen(server)
  server.close()
  await once(server, 'close')
  return port
}

/** Whether a TCP port of 127.0.0.1 is free now. */
export async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    await listen(server, port)
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}

/**
 * Listens on 127.0.0.1.
 * @param port 0, the default, lets the system choose.
 * @returns the port in use.
 */
export async function listen(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

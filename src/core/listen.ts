import { CannotStart } from './cannot-start.ts'

/** Where a server listens. Port 0 lets the system choose. */
export type ListenAddress = { kind: 'tcp'; host: string; port: number } | { kind: 'unix'; path: string }

/** A TCP address. */
export type TcpAddress = Extract<ListenAddress, { kind: 'tcp' }>

/** Writes an address as its variable spells it: `host:port`, with IPv6 in brackets, or `unix:/path`. */
export function showAddress(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
}

/** A listener that could not be opened; the configuration is to blame, not the program. */
export class CannotListen extends CannotStart {
  constructor(address: ListenAddress, cause: unknown) {
    const { code, message } = cause as { code?: string; message?: string }
    super(
      `Cannot listen on ${showAddress(address)}: ${whyNot[code ?? ''] ?? message ?? code ?? 'unknown'}`,
      cause,
    )
    this.name = 'CannotListen'
  }
}

const whyNot: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is in use by another process',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'no such host',
}

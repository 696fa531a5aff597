/** Where a RabbitMQ is and how it is logged in to. */
export interface AmqpUrl {
  /** `amqps`: TLS from the first byte on. */
  isEncrypted: boolean
  /** IPv6 without brackets. */
  hostname: string
  port: number
  username: string
  password: string
  vhost: string
  /** PEM files for TLS: authorities in place of the system's own, and a client certificate with its key. */
  files: { ca?: string; cert?: string; key?: string }
}

/** What a URL must look like; completes the sentence "it must be …". */
export const amqpUrlForm =
  'amqps://USER:PASSWORD@HOST:PORT/VHOST or the same with amqp, special characters in percent-encoding (%2F is a slash); of queries only cacertfile, certfile and keyfile, with amqps, the last two together'

const defaultPorts: Readonly<Record<string, number>> = { 'amqp:': 5672, 'amqps:': 5671 }

/** Names of RabbitMQ's own clients, https://www.rabbitmq.com/docs/uri-query-parameters. */
const fileNames: Readonly<Record<string, keyof AmqpUrl['files']>> = {
  cacertfile: 'ca',
  certfile: 'cert',
  keyfile: 'key',
}

/**
 * Reads an AMQP URL, https://www.rabbitmq.com/docs/uri-spec. Defaults: user and password `guest`, port 5672 or 5671,
 * vhost `/`, which an empty one stands for as well. @returns undefined where it is none.
 */
export function parseAmqpUrl(text: string): AmqpUrl | undefined {
  const url = URL.parse(text)
  const port = defaultPorts[url?.protocol ?? '']
  if (!url || port === undefined || url.hostname === '' || url.hash !== '') return undefined
  const vhost = decode(url.pathname.slice(1))
  const login = readLogin(url)
  const files = readFiles(url)
  if (vhost === undefined || url.pathname.lastIndexOf('/') > 0 || !login || !files) return undefined
  return {
    isEncrypted: url.protocol === 'amqps:',
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port) || port,
    ...login,
    vhost: vhost || '/',
    files,
  }
}

function readLogin(url: URL): Pick<AmqpUrl, 'username' | 'password'> | undefined {
  if (url.username === '' && url.password === '') return { username: 'guest', password: 'guest' }
  const username = decode(url.username)
  const password = decode(url.password)
  return username && password !== undefined ? { username, password } : undefined
}

function readFiles(url: URL): AmqpUrl['files'] | undefined {
  const files: AmqpUrl['files'] = {}
  for (const [name, path] of url.searchParams) {
    const file = fileNames[name]
    if (!file || path === '' || files[file] !== undefined || url.protocol !== 'amqps:') return undefined
    files[file] = path
  }
  return (files.cert === undefined) === (files.key === undefined) ? files : undefined
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Shows where a URL leads, without user and password. */
export function showAmqpUrl({ isEncrypted, hostname, port, vhost }: AmqpUrl): string {
  const host = hostname.includes(':') ? `[${hostname}]` : hostname
  return `${isEncrypted ? 'amqps' : 'amqp'}://${host}:${port}/${encodeURIComponent(vhost)}`
}

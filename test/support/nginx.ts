import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { aptCommand } from './apt.ts'
import type { Progress } from './cache.ts'
import { freePort } from './ports.ts'
import { RunningProcess } from './process.ts'
import { tempFolder } from './temp.ts'

/** A running nginx: the upstream that costs least, in one process, so that its CPU can be told apart. */
export interface Nginx extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  address: string
  process: RunningProcess
}

/**
 * The path of nginx: the one on PATH, else it is installed by apt-get.
 * @throws with all that was tried and what to do.
 */
export function nginxBinary(progress: Progress = () => {}): Promise<string> {
  return aptCommand('nginx', 'nginx-light', progress)
}

/** Starts nginx on a free port of loopback; it answers every request with the same few bytes of JSON. */
export async function startNginx(progress?: Progress): Promise<Nginx> {
  const command = await nginxBinary(progress)
  const address = `127.0.0.1:${await freePort()}`
  const folder = await tempFolder('nginx')
  const file = join(folder.path, 'nginx.conf')
  await writeFile(file, configuration(folder.path, address))
  const nginx = new RunningProcess({
    name: 'nginx',
    command,
    args: ['-p', folder.path, '-e', 'stderr', '-c', file],
  })
  const stop = async () => {
    await nginx.stop()
    await folder.remove()
  }
  try {
    await nginx.until(async () => (await fetch(`http://${address}/`)).ok || undefined)
    return { address, process: nginx, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

// Without a master there is one process. Every path is named, or nginx writes to those of the system's own service.
function configuration(folder: string, address: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
    daemon off;
    master_process off;
    pid ${folder}/nginx.pid;
    error_log stderr error;
    events { worker_connections 1024; }
    http {
      access_log off;
      keepalive_timeout 1h;
      keepalive_requests 1000000000;
      default_type application/json;
      ${temporary.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join('\n      ')}
      server {
        listen ${address};
        location / { return 200 '{"id":42,"name":"Ada Lovelace","email":"ada@example.com"}'; }
      }
    }
  `
}

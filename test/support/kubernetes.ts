import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { stringify } from 'yaml'
import type { Progress } from './cache.ts'
import { createAuthority } from './certificates.ts'
import { goTool } from './go-tool.ts'
import { freePort } from './ports.ts'
import { RunningProcess } from './process.ts'
import { tempFolder } from './temp.ts'

/** A machine that does something else as well may need this long. */
const readyLimitMs = 120_000

/** An object of Kubernetes' API: what every kind has; the rest passes through as it is. */
export interface KubernetesObject {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; labels?: Record<string, string> }
  [field: string]: unknown
}

/** Which object is meant. */
export type ObjectReference = Pick<KubernetesObject, 'apiVersion' | 'kind' | 'metadata'>

interface ResourceKind {
  kind: string
  /** In the plural, as paths have it. */
  name: string
  namespaced: boolean
}

/** A real API server on an etcd of its own. There is no kubelet and no controller: what is applied is kept, not run. */
export interface Kubernetes extends AsyncDisposable {
  /** A kubeconfig file of an administrator. */
  kubeconfig: string
  /**
   * Applies objects as `kubectl apply --server-side --validate=strict` does, in their order.
   * @param dryRun validates and admits, and keeps nothing.
   * @throws where one is refused, with the server's words.
   */
  apply(objects: readonly KubernetesObject[], options?: { dryRun?: boolean }): Promise<void>
  /** Deletes objects; those that are not there already are no error. */
  delete(objects: readonly ObjectReference[]): Promise<void>
  /** A token of a service account, for an hour. */
  createToken(account: { namespace: string; name: string; audience: string }): Promise<string>
}

/**
 * Starts etcd and kube-apiserver on free ports of loopback, building both on first use, and waits until they serve.
 * @throws with the last lines of whichever does not come up.
 */
export async function startKubernetes(progress: Progress = () => {}): Promise<Kubernetes> {
  await using parts = new AsyncDisposableStack()
  const folder = parts.use(await tempFolder('kubernetes'))
  const etcdUrl = await startEtcd(parts, folder.path, progress)
  const server = await startApiServer(parts, folder.path, etcdUrl, progress)
  const kubeconfig = join(folder.path, 'kubeconfig')
  await writeFile(kubeconfig, stringify(kubeconfigOf(server.access)))
  const owned = parts.move()
  return { ...clientOf(server), kubeconfig, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

async function startEtcd(parts: AsyncDisposableStack, folder: string, progress: Progress): Promise<string> {
  const home = await goTool({ name: 'etcd', module: 'go.etcd.io/etcd/server/v3' }, progress)
  const [client, peer] = [await freePort(), await freePort()]
  const url = `http://127.0.0.1:${client}`
  const etcd = parts.use(
    new RunningProcess({
      name: 'etcd',
      command: join(home, 'server'),
      args: [
        ...['--data-dir', join(folder, 'etcd'), '--log-level', 'warn'],
        ...['--listen-client-urls', url, '--advertise-client-urls', url],
        ...['--listen-peer-urls', `http://127.0.0.1:${peer}`],
        // A test's data need not outlive the machine.
        '--unsafe-no-fsync',
      ],
    }),
  )
  await etcd.until(async () => (await fetch(`${url}/health`)).ok || undefined, readyLimitMs)
  return url
}

interface Access {
  origin: string
  token: string
  /** The authority of the server's certificate, PEM. */
  ca: string
}

interface ApiServer {
  process: RunningProcess
  access: Access
  call: Call
}

async function startApiServer(
  parts: AsyncDisposableStack,
  folder: string,
  etcdUrl: string,
  progress: Progress,
): Promise<ApiServer> {
  const home = await goTool({ name: 'kube-apiserver', module: 'k8s.io/kubernetes' }, progress)
  const authority = createAuthority('test cluster')
  const pair = authority.issue('kube-apiserver', { ips: ['127.0.0.1'], dns: ['localhost'] })
  const accounts = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const token = randomUUID()
  const files = {
    'server.crt': pair.cert,
    'server.key': pair.key,
    'accounts.pub': accounts.publicKey.export({ type: 'spki', format: 'pem' }),
    'accounts.key': accounts.privateKey.export({ type: 'sec1', format: 'pem' }),
    'tokens.csv': `${token},administrator,administrator,system:masters\n`,
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)

  const port = await freePort()
  const process = parts.use(
    new RunningProcess({
      name: 'kube-apiserver',
      command: join(home, 'kube-apiserver'),
      args: [
        ...['--etcd-servers', etcdUrl, '--bind-address', '127.0.0.1', '--secure-port', String(port)],
        ...['--cert-dir', folder, '--advertise-address', '127.0.0.1', '--endpoint-reconciler-type', 'none'],
        ...['--tls-cert-file', join(folder, 'server.crt')],
        ...['--tls-private-key-file', join(folder, 'server.key')],
        ...['--service-cluster-ip-range', '10.0.0.0/24'],
        ...['--service-account-issuer', 'https://kubernetes.default.svc'],
        ...['--service-account-key-file', join(folder, 'accounts.pub')],
        ...['--service-account-signing-key-file', join(folder, 'accounts.key')],
        ...['--api-audiences', 'https://kubernetes.default.svc,istio-ca'],
        ...['--token-auth-file', join(folder, 'tokens.csv'), '--authorization-mode', 'RBAC'],
        // It waits for the controller that would make each namespace's default account: there is none.
        ...['--disable-admission-plugins', 'ServiceAccount'],
      ],
    }),
  )
  const access = { origin: `https://127.0.0.1:${port}`, token, ca: authority.cert }
  const call = callerOf(access, parts)
  await process.until(() => call('GET', '/readyz'), readyLimitMs)
  return { process, access, call }
}

function kubeconfigOf({ origin, token, ca }: Access): object {
  const cluster = { server: origin, 'certificate-authority-data': Buffer.from(ca).toString('base64') }
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'administrator', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'administrator' } }],
    'current-context': 'test',
  }
}

const notFound = 404

type Call = (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: object) => Promise<string>

function callerOf({ origin, token, ca }: Access, parts: AsyncDisposableStack): Call {
  const dispatcher = new Agent({ connect: { ca } })
  parts.defer(() => dispatcher.destroy())
  return async (method, path, body) => {
    const answer = await request(origin + path, {
      dispatcher,
      method,
      headers: {
        authorization: `Bearer ${token}`,
        // JSON is YAML, and applying is known by this type alone.
        'content-type': method === 'PATCH' ? 'application/apply-patch+yaml' : 'application/json',
      },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await answer.body.text()
    if (answer.statusCode < 300 || (method === 'DELETE' && answer.statusCode === notFound)) return text
    throw new Error(`Cannot ${method} ${path}: status ${answer.statusCode}, ${text}`)
  }
}

function clientOf({
  process,
  call,
}: Omit<ApiServer, 'access'>): Pick<Kubernetes, 'apply' | 'delete' | 'createToken'> {
  async function pathOf({ apiVersion, kind, metadata }: ObjectReference): Promise<string> {
    const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
    const { resources } = JSON.parse(await call('GET', root)) as { resources: ResourceKind[] }
    const found = resources.find((resource) => resource.kind === kind && !resource.name.includes('/'))
    if (!found) throw new Error(`Cannot find the kind ${kind} in ${apiVersion}`)
    const namespace = found.namespaced ? `/namespaces/${metadata.namespace ?? 'default'}` : ''
    return `${root}${namespace}/${found.name}/${metadata.name}`
  }

  async function isEstablished(definition: ObjectReference): Promise<true | undefined> {
    const { status } = JSON.parse(await call('GET', await pathOf(definition))) as {
      status?: { conditions?: { type: string; status: string }[] }
    }
    return (
      status?.conditions?.some(({ type, status: is }) => type === 'Established' && is === 'True') || undefined
    )
  }

  return {
    async apply(objects, { dryRun = false } = {}) {
      const query = `?fieldManager=test&fieldValidation=Strict&force=true${dryRun ? '&dryRun=All' : ''}`
      for (const object of objects) await call('PATCH', `${await pathOf(object)}${query}`, object)
      for (const object of objects.filter(({ kind }) => kind === 'CustomResourceDefinition')) {
        await process.until(() => isEstablished(object))
      }
    },

    async delete(objects) {
      for (const object of objects) await call('DELETE', await pathOf(object))
    },

    async createToken({ namespace, name, audience }) {
      const spec = { audiences: [audience], expirationSeconds: 3600 }
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`
      const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec }
      const { status } = JSON.parse(await call('POST', path, body)) as { status: { token: string } }
      return status.token
    },
  }
}

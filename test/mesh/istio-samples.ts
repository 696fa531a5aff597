import type { KeyPair } from '../support/certificates.ts'
import type { KubernetesObject } from '../support/kubernetes.ts'

const rbac = 'rbac.authorization.k8s.io'
const gatewayAccount = { name: 'istio-ingressgateway-service-account', namespace: 'istio-system' }
const secretReader = { name: 'secret-reader', namespace: 'istio-system' }

/** Where the processes are that stand for pods: `127.0.0.1:PORT` each. */
export interface Samples {
  /** The gateway's certificate. */
  certificate: KeyPair
  /** Serves both services, in both versions. */
  upstream: string
  gatepost: string
}

/**
 * What a cluster has beside our manifests: the gateway's account, as Istio's chart makes it, and certificate, the two services, and, in place of
 * pods, entries that say where each is served.
 */
export function sampleObjects({ certificate, upstream, gatepost }: Samples): KubernetesObject[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'istio-system' } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: gatewayAccount },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'Role',
      metadata: secretReader,
      rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get', 'watch', 'list'] }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata: secretReader,
      roleRef: { apiGroup: rbac, kind: 'Role', name: secretReader.name },
      subjects: [{ kind: 'ServiceAccount', ...gatewayAccount }],
    },
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'api-example-com-tls', namespace: 'istio-system' },
      type: 'kubernetes.io/tls',
      stringData: { 'tls.crt': certificate.cert, 'tls.key': certificate.key },
    },
    ...['user-service', 'order-service'].flatMap((name) => [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace: 'default' },
        spec: { selector: { app: name }, ports: [{ name: 'http', port: 8080 }] },
      },
      ...['v1', 'v2'].map((version) =>
        workloadEntry(`${name}-${version}`, 'default', { app: name, version }, { http: upstream }),
      ),
    ]),
    workloadEntry('gatepost', 'gatepost', { 'app.kubernetes.io/name': 'gatepost' }, { grpc: gatepost }),
  ]
}

function workloadEntry(
  name: string,
  namespace: string,
  labels: Record<string, string>,
  addresses: Record<string, string>,
): KubernetesObject {
  const ports = Object.entries(addresses).map(([port, address]) => [port, Number(address.split(':')[1])])
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'WorkloadEntry',
    metadata: { name, namespace, labels },
    spec: { address: '127.0.0.1', labels, ports: Object.fromEntries(ports) },
  }
}

/** An origin that may call from a browser. */
export const corsOrigin = 'https://app.example.com'

/**
 * Our manifests of the traffic as a test can serve them: the Gateway's port is on loopback, where one may listen; and each
 * route has a CORS policy, to see whether it or Gatepost comes first.
 */
export function servedHere(object: KubernetesObject, port: number): KubernetesObject {
  if (object.kind === 'Gateway') {
    const spec = structuredClone(object['spec']) as { servers: { bind?: string; port: { number: number } }[] }
    for (const server of spec.servers) {
      server.bind = '127.0.0.1'
      server.port.number = port
    }
    return { ...object, spec }
  }
  if (object.kind === 'VirtualService') {
    const spec = structuredClone(object['spec']) as { http: { corsPolicy?: object }[] }
    for (const route of spec.http) {
      route.corsPolicy = { allowOrigins: [{ exact: corsOrigin }], allowMethods: ['GET'] }
    }
    return { ...object, spec }
  }
  return object
}

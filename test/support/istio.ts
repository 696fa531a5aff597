import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Progress } from './cache.ts'
import { type Envoy, startEnvoy } from './envoy.ts'
import { type GoComponent, goTool } from './go-tool.ts'
import type { Kubernetes, KubernetesObject } from './kubernetes.ts'
import { readObjects } from './kustomize.ts'
import { freePort } from './ports.ts'
import { RunningProcess } from './process.ts'
import { tempFolder } from './temp.ts'

/** A machine that does something else as well may need this long. */
const readyLimitMs = 120_000

/** The minor version that the module under `test/services/istio` is of: what a gateway of it says of itself. */
const istioVersion = '1.31.0'

/** The exit code of `istioctl analyze` where it found something. */
const analyzersFoundIssues = 79

const gatewayNamespace = 'istio-system'
const gatewayAccount = 'istio-ingressgateway-service-account'

const istio: GoComponent = {
  name: 'istio',
  module: 'istio.io/istio',
  texts: {
    'istio-crds.yaml': { module: 'istio.io/istio', paths: ['manifests/charts/base/files/crd-all.gen.yaml'] },
    'gateway-api-crds.yaml': {
      module: 'sigs.k8s.io/gateway-api',
      paths: ['gatewayclasses', 'gateways', 'httproutes', 'referencegrants'].map(
        (name) => `config/crd/standard/gateway.networking.k8s.io_${name}.yaml`,
      ),
    },
  },
}

/** The definitions of Istio's kinds, or of the Gateway API's. */
export async function customResources(
  of: 'istio' | 'gateway-api',
  progress?: Progress,
): Promise<KubernetesObject[]> {
  const home = await goTool(istio, progress)
  return readObjects(await readFile(join(home, `${of}-crds.yaml`), 'utf8'))
}

/**
 * What `istioctl analyze` says of files, without a cluster, one finding a line; nothing where it is content. That it
 * warns of every EnvoyFilter, whatever is in it, is left out.
 */
export async function analyze(files: Readonly<Record<string, string>>): Promise<string[]> {
  const home = await goTool(istio)
  await using folder = await tempFolder('analyze')
  const paths = Object.keys(files).map((name) => join(folder.path, `${name}.yaml`))
  await Promise.all(Object.values(files).map((text, at) => writeFile(paths[at] ?? '', text)))
  await using istioctl = new RunningProcess({
    name: 'istioctl analyze',
    command: join(home, 'istioctl'),
    args: ['analyze', '--use-kube=false', '--all-namespaces', ...paths],
  })
  const end = await istioctl.ended
  if (!['exit code 0', `exit code ${analyzersFoundIssues}`].includes(end)) {
    throw new Error(`Cannot run istioctl analyze: ${end}\n${istioctl.lastWords()}`)
  }
  return istioctl.lines.filter(
    (line) => line.includes('[IST') && !/IST0133.*EnvoyFilter exposes internal/.test(line),
  )
}

/** A running istiod. */
export interface Istiod extends AsyncDisposable {
  /**
   * Attaches an Envoy as the ingress gateway, as Istio's own image would: it gets all its configuration over ADS, and is
   * known by the token of its service account.
   * @param version of Envoy. Default: the newest.
   */
  attachGateway(version?: string): Promise<Envoy>
}

/**
 * Starts istiod, building it on first use, and waits until it serves.
 * @param kubernetes with Istio's kinds defined, and the namespace and the service account of the gateway in it.
 * @param meshConfig as the chart's values have it below `meshConfig`.
 */
export async function startIstiod(
  kubernetes: Kubernetes,
  meshConfig: object,
  progress: Progress = () => {},
): Promise<Istiod> {
  const home = await goTool(istio, progress)
  await using parts = new AsyncDisposableStack()
  const folder = parts.use(await tempFolder('istiod'))
  const meshFile = join(folder.path, 'mesh.yaml')
  // Between processes of loopback there are no sidecars to end TLS.
  await writeFile(meshFile, stringify({ ...meshConfig, enableAutoMtls: false }))
  const [ads, http, monitoring] = [await freePort(), await freePort(), await freePort()]
  const istiod = parts.use(
    new RunningProcess({
      name: 'istiod',
      command: join(home, 'pilot-discovery'),
      args: [
        ...['discovery', '--kubeconfig', kubernetes.kubeconfig, '--meshConfig', meshFile],
        ...['--grpcAddr', `127.0.0.1:${ads}`, '--secureGRPCAddr', '', '--httpsAddr', ''],
        ...['--httpAddr', `127.0.0.1:${http}`, '--monitoringAddr', `127.0.0.1:${monitoring}`],
        ...['--domain', 'cluster.local', '--ctrlz_port', '0'],
      ],
      cwd: folder.path,
      env: {
        PATH: process.env['PATH'],
        HOME: folder.path,
        POD_NAME: 'istiod-1',
        POD_NAMESPACE: gatewayNamespace,
        // Believes the gateway's token without TLS, too: else it would get no certificate.
        XDS_AUTH_PLAINTEXT: 'true',
        // Filters that only Istio's own build of Envoy has.
        PILOT_ENABLE_METADATA_EXCHANGE: 'false',
        PILOT_ENABLE_ALPN_FILTER: 'false',
        PILOT_ENABLE_TELEMETRY_LABEL: 'false',
      },
    }),
  )
  await istiod.until(
    async () => (await fetch(`http://127.0.0.1:${http}/ready`)).ok || undefined,
    readyLimitMs,
  )
  const owned = parts.move()

  return {
    async attachGateway(version) {
      const token = await kubernetes.createToken({
        namespace: gatewayNamespace,
        name: gatewayAccount,
        audience: 'istio-ca',
      })
      return startEnvoy(gatewayBootstrap(ads, token), { ...(version !== undefined && { version }) })
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** What an ingress gateway asks istiod for, and how it says who it is. */
function gatewayBootstrap(adsPort: number, token: string): object {
  const fromAds = { ads: {}, resource_api_version: 'V3', initial_fetch_timeout: '0s' }
  return {
    node: {
      id: `router~127.0.0.1~istio-ingressgateway-1.${gatewayNamespace}~${gatewayNamespace}.svc.cluster.local`,
      cluster: `istio-ingressgateway.${gatewayNamespace}`,
      metadata: {
        ISTIO_VERSION: istioVersion,
        NAMESPACE: gatewayNamespace,
        SERVICE_ACCOUNT: gatewayAccount,
        CLUSTER_ID: 'Kubernetes',
        LABELS: { app: 'istio-ingressgateway', istio: 'ingressgateway' },
      },
    },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    dynamic_resources: {
      lds_config: fromAds,
      cds_config: fromAds,
      ads_config: {
        api_type: 'GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [
          {
            envoy_grpc: { cluster_name: 'istiod' },
            initial_metadata: [{ key: 'authorization', value: `Bearer ${token}` }],
          },
        ],
      },
    },
    static_resources: {
      clusters: [
        {
          name: 'istiod',
          type: 'STATIC',
          connect_timeout: '1s',
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
          load_assignment: {
            cluster_name: 'istiod',
            endpoints: [
              {
                lb_endpoints: [
                  {
                    endpoint: {
                      address: { socket_address: { address: '127.0.0.1', port_value: adsPort } },
                    },
                  },
                ],
              },
            ],
          },
        },
      ],
    },
  }
}

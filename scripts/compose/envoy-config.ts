/** What differs in a compose network from Envoy on one machine: text of envoy/ext-authz.yaml, and what stands there instead. */
const differences: readonly (readonly [from: string, to: string])[] = [
  [
    'address: { socket_address: { address: 127.0.0.1, port_value: 9001 } }',
    'address: { pipe: { path: /run/gatepost/gatepost.sock } }',
  ],
  [
    'socket_address: { address: 127.0.0.1, port_value: 8080 }',
    'socket_address: { address: 0.0.0.0, port_value: 8080 }',
  ],
  ...['user', 'order'].flatMap((name, index) => {
    const port = 8081 + index
    return [
      [
        `- name: ${name}_service\n      type: STATIC`,
        `- name: ${name}_service\n      type: STRICT_DNS\n      dns_lookup_family: V4_ONLY`,
      ],
      [
        `address: { socket_address: { address: 127.0.0.1, port_value: ${port} } }`,
        `address: { socket_address: { address: ${name}-service, port_value: ${port} } }`,
      ],
    ] as const
  }),
]

const heading = `# Made from envoy/ext-authz.yaml by \`npm run generate\`: do not edit. Other than there, the listener is open to the compose
# network (the port is published on loopback alone), Gatepost is reached by its socket, and the upstreams by name.

`

/**
 * Writes deploy/envoy.yaml, which docker-compose.yml mounts.
 * @param bundled the text of envoy/ext-authz.yaml.
 * @throws where what differs does not stand there exactly once.
 */
export function composeEnvoyConfig(bundled: string): string {
  let text = bundled
  for (const [from, to] of differences) {
    if (text.split(from).length !== 2)
      throw new Error(`Cannot write deploy/envoy.yaml: envoy/ext-authz.yaml does not have once:\n${from}`)
    text = text.replace(from, to)
  }
  return heading + text
}

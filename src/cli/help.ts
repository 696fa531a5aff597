import type { CommandName } from './arguments.ts'
import { wrap } from './wrap.ts'

/** A variable as the help shows it. */
export interface VariableHelp {
  name: string
  default?: string
  meaning: string
}

const general = `gatepost stands beside Envoy and decides: Envoy asks for each request, gatepost answers who is calling and whether
they may pass. Everything is configured by environment variables.

Usage
  gatepost [serve]         run beside Envoy until SIGTERM
  gatepost check           read the configuration, try every dependency, say what would fail
  gatepost explain METHOD PATH
                           say why a request gets the answer that it gets
  gatepost keys new        make an API key
  gatepost events [TYPE]   the events that it tells: when, with what data, where they go
  gatepost lint FILES…     find the traps in Envoy, Istio and Kubernetes files that validation passes in silence
  gatepost COMMAND --help  more on one command
  gatepost --version

Try it
  GATEPOST_AUTH=none gatepost                   let everybody pass, to see Envoy and Gatepost meet
  OIDC_ISSUER=https://login.example.com/ \\
  OIDC_AUDIENCE=https://api.example.com gatepost
                                                let bearers of your issuer's tokens pass
  curl localhost:9002/readyz                    is it ready, and which doors has Envoy used?

Envoy's side of it is envoy/ext-authz.yaml in this package.

Exit codes
  0 fine   1 a check failed   64 usage   69 a dependency is unreachable   78 configuration, or Node.js older than 24
`

const explain = `gatepost explain says why a request gets the answer that it gets, step by step. It asks the gatepost that runs on the
admin address; if none does, the configuration alone answers. Nothing is taken, counted or told, and no issuer is asked
unless you say --ask.

  gatepost explain GET /api/users -H "authorization: Bearer $TOKEN"
  gatepost explain GET /api/users --host api.example.com --client-address 192.0.2.7 --json

Options
  -H, --header 'name: value'   a header of the request, as often as needed
  --host HOST                  its host
  --client-address IP          where it comes from
  --principal NAME             the name in its client certificate
  --setting key=value          what Envoy's route says (route, service, auth, scopes, rate_limit, rate_limit_key)
  --ask                        issuers may be asked for keys and about tokens
  --values                     show claims with their values
  --json                       for machines

Exit codes
  0 whatever the verdict   64 usage   78 the configuration has problems
`

const keys = `gatepost keys new makes an API key: it prints the key, this once, and the entry for the file that
GATEPOST_API_KEYS_FILE names. The file holds hashes alone; Gatepost rereads it when it changes.

  gatepost keys new --client-id NAME [--scopes read:a,write:b] [--expires-at 2030-01-31T00:00:00Z] [--json]

The file, with the entry that is printed:

  keys:
    - {"id":"3f9b33cf146e","client_id":"billing","hash":"sha256:8b2a…","scopes":["read:a"]}

Clients send the key in the header x-api-key (GATEPOST_API_KEY_HEADER).
`

const events = `gatepost events prints the catalogue of events: what each says, when it is told, its data, its topic and routing key.
It reads no configuration and asks nobody.

  gatepost events                      every type
  gatepost events request.completed    one type: each field, and an example

Options
  --json       for machines: every type with its JSON Schema; with TYPE, that schema alone
  --asyncapi   the AsyncAPI 3 document of all events, as YAML; with --json as JSON

Exit codes
  0 fine   64 usage, such as a type that there is not
`

const lint = `gatepost lint finds what Envoy, Istio and Kubernetes accept without a word and what bites later: ignored fields, missing
timeouts, ways around the decision, identity headers that clients can forge. It reads no configuration and asks nobody.

  gatepost lint envoy.yaml                       a file, YAML or JSON, with any number of documents
  gatepost lint istio/ kubernetes/               folders: every *.yaml, *.yml and *.json in and below them
  kubectl kustomize overlays/prod | gatepost lint -
                                                 standard input; files that belong together are best looked at together

Options
  --rules   list the rules; docs/lint.md says of each why it is there and what to do
  --json    for machines

A comment on the line of a finding, or above it, silences it; the reason must be there:
  # gatepost-lint-ignore: wildcard-host one tenant, and the policy names no host

Exit codes
  0 nothing found   1 a finding, or a file that cannot be read or parsed   64 usage
`

const check = `gatepost check reads the same environment as serve and tries it out: the configuration, the keys of each issuer, and
whether a gatepost runs on the admin address and Envoy has found its doors. One line each; it changes nothing.

  gatepost check && gatepost serve
  gatepost check --ready   only whether the gatepost on the admin address is ready: a container's health check, which
                           disturbs no issuer

Exit codes
  0 all is well   1 a check failed   69 an issuer is unreachable   78 the configuration has problems (all are listed)
`

const serve = `gatepost serve listens for Envoy on GATEPOST_GRPC_ADDRESS and for you on GATEPOST_ADMIN_ADDRESS
(/healthz, /readyz, /metrics). Logs go to stderr. SIGTERM drains: health says NOT_SERVING, calls finish, exit 0.

An empty variable counts as unset. Durations: 250ms 10s 1m 1h. Lists: by comma.

`

/** Writes the help of a command, or of all. */
export function helpText(command: CommandName | undefined, variables: readonly VariableHelp[]): string {
  if (command === 'check') return check
  if (command === 'keys') return keys
  if (command === 'explain') return explain
  if (command === 'events') return events
  if (command === 'lint') return lint
  return command === 'serve' ? serve + variables.map(variableHelp).join('\n') : general
}

function variableHelp({ name, default: fallback, meaning }: VariableHelp): string {
  const standard = fallback ? ` (${fallback})` : ''
  return `  ${name}${standard}\n      ${wrap(meaning.replaceAll('`', ''), 100).join('\n      ')}\n`
}

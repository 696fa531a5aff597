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
  gatepost webhooks        endpoints that events are delivered to, and what became of deliveries
  gatepost deliver         deliver webhooks that wait in RabbitMQ; any number of processes share the work
  gatepost circuits        circuits of upstream services: how they stand, and holding them open or closed
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

const webhooks = `gatepost webhooks manages the endpoints that events are delivered to. It asks the gatepost that runs on the admin
address; what is added here belongs to that replica alone. What all replicas share is GATEPOST_WEBHOOKS_FILE, as
docs/webhooks.md describes it.

  gatepost webhooks [list]                  every endpoint, and how it stands
  gatepost webhooks add --url https://hooks.example.com/gatepost --events auth.failed,circuit_breaker.*
                                            adds one, and shows its secret, this once
  gatepost webhooks show ID                 all that is known of one
  gatepost webhooks test ID                 delivers an event webhook.test now, and says what the receiver answered
  gatepost webhooks deliveries [ID]         deliveries, the newest first; with the ID of one, its attempts and its body
  gatepost webhooks replay ID               delivers once more what has ended
  gatepost webhooks replay --all --webhook ID --since 2h
                                            all that have failed or were dropped, of those that the options choose
  gatepost webhooks rotate ID               makes a new secret; the old one signs as well for a while
  gatepost webhooks pause ID, resume ID     keeps deliveries back, and queues what comes
  gatepost webhooks enable ID               delivers again to one that was disabled because it failed for long
  gatepost webhooks remove ID               removes one, with its deliveries

Options of add
  --url URL                    where deliveries go
  --events TYPES               by commas; circuit_breaker.* for a family (all)
  --id ID                      its name (a random one)
  --secret-file FILE           the secret, - for standard input (a new one)
  -H, --header 'name: value'   sent with each delivery, as often as needed
  --routes, --services LIST    only events about one of these
  --ordered                    one delivery at a time, in the order of the events
  --max-retries N              attempts after the first (3)
  --backoff-seconds N          before the second attempt; twice as many before each further one (60)
  --rate-limit RATE            the most attempts, such as 100/1m (no limit)
  --concurrency N, --timeout-seconds N
                               deliveries at a time (8), and how long an attempt may take (10)
  --inactive                   deliver nothing yet

Options of rotate
  --secret-file FILE           the new secret (one is made)
  --grace-seconds N            how long the old one signs on (86400)

Options of deliveries and replay --all
  --webhook ID  --status pending|delivered|failed|dropped  --event TYPE
  --since, --until TIME        when they were queued: 2030-01-31T00:00:00Z, or how long ago, such as 2h
  --limit N, --cursor C        of deliveries alone: how many on a page (50), and which page

  --json goes with every action

Exit codes
  0 fine   1 no such thing, it stands against it, or a test was not delivered   64 usage, or a value that does not do
  69 no gatepost runs there, or it cannot do this at the moment   78 the configuration has problems
`

const deliver = `gatepost deliver delivers webhooks that wait in RabbitMQ (GATEPOST_WEBHOOK_QUEUE=rabbitmq), beside any number
of others that do. It reads the same environment as serve; what it needs of it:

  AMQP_URL                        where they wait
  GATEPOST_SECRET_KEY             the same as that of serve: by it messages are known to be Gatepost's
  GATEPOST_WEBHOOKS_FILE          where they go, and how: nothing of that comes from the queue; reread when it changes
  GATEPOST_WEBHOOK_ALLOW_PRIVATE, GATEPOST_ALLOW_PLAINTEXT
                                  which addresses may be reached
  GATEPOST_STATUS_ADDRESS         /healthz, /readyz and /metrics, where it is set
  GATEPOST_DRAIN_TIMEOUT          after SIGTERM: how long attempts under way may take to end; the rest goes back

  gatepost deliver --replay-dead  sends the dead letters that are there back to be delivered, and ends

See docs/webhooks-queue.md.

Exit codes
  0 fine   64 usage   69 RabbitMQ cannot be used, with --replay-dead; else it is waited for   78 the configuration
`

const circuits = `gatepost circuits shows and overrides the circuits of the gatepost that runs on the admin address.

  gatepost circuits [list]                                    every circuit, and why it is not closed
  gatepost circuits open SERVICE --reason 'maintenance'       refuses every request to it
  gatepost circuits close SERVICE --reason TEXT --for 10m     lets every request pass
  gatepost circuits clear SERVICE                             ends what was ordered before

Options
  --reason TEXT   why, for whoever finds it
  --for TIME      how long it lasts, at most 7d (1h)
  --json          for machines

Exit codes
  0 fine   1 no such circuit   64 usage   69 no gatepost runs there   78 the configuration has problems
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

const pages = { check, keys, explain, webhooks, deliver, circuits, events, lint } as const satisfies Record<
  Exclude<CommandName, 'serve'>,
  string
>

/** Writes the help of a command, or of all. */
export function helpText(command: CommandName | undefined, variables: readonly VariableHelp[]): string {
  if (command === undefined) return general
  return command === 'serve' ? serve + variables.map(variableHelp).join('\n') : pages[command]
}

function variableHelp({ name, default: fallback, meaning }: VariableHelp): string {
  const standard = fallback ? ` (${fallback})` : ''
  return `  ${name}${standard}\n      ${wrap(meaning.replaceAll('`', ''), 100).join('\n      ')}\n`
}

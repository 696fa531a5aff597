import { hash } from 'node:crypto'
import type { Logger } from '../core/log.ts'
import {
  type Rotation,
  type WebhookAnswer,
  type WebhookChange,
  type WebhookCondition,
  type WebhookDraft,
  type WebhookOptions,
  type WebhookRefusal,
  type WebhookSource,
  webhookAdminBounds,
} from '../core/webhook-admin.ts'
import {
  isWebhookSecret,
  type WebhookEndpoint,
  type WebhookSecret,
  webhookBounds,
  webhookDefaults,
  webhookSecretForm,
} from '../core/webhooks.ts'
import type { Control, Disabling, EndpointStore, StoredSecret, StoredWebhook } from './endpoint-store.ts'
import { type CheckAddress, urlProblem } from './guard.ts'
import { isSealed, newSecret, openSecret, type Random, readStoredSecret, sealSecret } from './secrets.ts'

/** An endpoint, where it comes from, and what becomes of deliveries to it. */
export interface Target {
  endpoint: WebhookEndpoint
  source: WebhookSource
  control: Control
  condition: WebhookCondition
  /** Why it is disabled or unusable, as a sentence. */
  why?: string
}

/** A draft with nothing left to be made up. */
export type WholeDraft = WebhookDraft & { id: string; secret: string }

/** Reads a draft: an endpoint, or all that is wrong with it. */
export type ReadDraft = (
  draft: WholeDraft,
) => { kind: 'document'; value: WebhookEndpoint } | { kind: 'problems'; problems: readonly string[] }

/** What a registry is made of. */
export interface RegistryParts {
  store: EndpointStore
  read: ReadDraft
  check: CheckAddress
  /** Seals secrets; absent where no GATEPOST_SECRET_KEY is set. */
  key: Buffer | undefined
  random: Random
  now: () => number
  logger: Logger
  /** Told that endpoints have come, gone or changed. */
  onChange: () => void
}

/** What is known of an endpoint of this replica beside what delivering needs. */
interface Local {
  stored: StoredWebhook
  endpoint: WebhookEndpoint
  unusable?: string
}

/** All endpoints: those of the file, and those of this replica. Where both have one by the same name, the file's counts. */
export class Registry {
  readonly #parts: RegistryParts
  readonly #locals = new Map<string, Local>()
  readonly #controls: Map<string, Control>
  #file: ReadonlyMap<string, WebhookEndpoint> = new Map()
  #targets: ReadonlyMap<string, Target> = new Map()

  constructor(parts: RegistryParts) {
    this.#parts = parts
    this.#controls = parts.store.controls()
    for (const stored of parts.store.all()) this.#locals.set(stored.id, this.#load(stored))
    this.#combine()
  }

  /** By id, in the order of ids. */
  get targets(): ReadonlyMap<string, Target> {
    return this.#targets
  }

  /** Takes the endpoints of the file. One that was disabled and now is inactive, or absent, begins anew afterwards. */
  adoptFile(endpoints: readonly WebhookEndpoint[]): void {
    const before = this.#file
    this.#file = new Map(endpoints.map((endpoint) => [endpoint.id, endpoint]))
    for (const id of before.keys()) {
      if (this.#file.get(id)?.active !== true && !this.#locals.has(id)) this.#tryToLift(id)
    }
    for (const id of this.#locals.keys()) {
      if (this.#file.has(id))
        this.#parts.logger.warn(
          { webhook_id: id },
          'the webhooks file has an endpoint of this name: it counts',
        )
    }
    this.#changed()
  }

  /** @throws where the disk does not take it. */
  create(draft: WebhookDraft): WebhookAnswer<{ id: string; secret: string }> {
    const { random } = this.#parts
    const { secret = newSecret(random), id = `wh_${random(8).toString('hex')}`, ...options } = draft
    if (this.#targets.has(id)) return conflict(`There is a webhook called ${JSON.stringify(id)} already.`)
    if (this.#locals.size >= webhookBounds.endpoints)
      return conflict(`There are ${webhookBounds.endpoints} webhooks already, and no room for more.`)
    const read = this.#read({ ...options, id, secret })
    if (read.kind === 'problems') return { kind: 'invalid', problems: read.problems }
    this.#keep(id, options, [{ stored: this.#seal(id, secret) }])
    return { kind: 'done', value: { id, secret } }
  }

  /** @throws where the disk does not take it. */
  update(id: string, change: WebhookChange): WebhookRefusal | undefined {
    const local = this.#editable(id)
    if ('kind' in local) return local
    const headers = this.#headers(local.stored)
    if (headers === undefined && change.headers === undefined) return conflict(cannotOpenHeaders)
    const options = changed({ ...local.stored.options, ...(headers && { headers }) }, change)
    // Its own secret may be one that cannot be opened at the moment: that is no reason to refuse a change of the rest.
    const read = this.#read({ ...options, id, secret: newSecret(this.#parts.random) })
    if (read.kind === 'problems') return { kind: 'invalid', problems: read.problems }
    this.#keep(id, options, local.stored.secrets)
    return undefined
  }

  /** @throws where the disk does not take it. */
  remove(id: string): WebhookRefusal | undefined {
    const local = this.#editable(id)
    if ('kind' in local) return local
    this.#parts.store.remove(id)
    this.#locals.delete(id)
    this.#controls.delete(id)
    this.#changed()
    return undefined
  }

  /** @throws where the disk does not take it. */
  rotate(id: string, rotation: Rotation): WebhookAnswer<string> {
    const local = this.#editable(id)
    if ('kind' in local) return local
    const problems = problemsOf(rotation)
    if (problems.length > 0) return { kind: 'invalid', problems }
    const { stored } = local
    const headers = this.#headers(stored)
    if (headers === undefined) return conflict(cannotOpenHeaders)
    const { defaultGraceSeconds } = webhookAdminBounds
    const { secret = newSecret(this.#parts.random), graceSeconds = defaultGraceSeconds } = rotation
    const old = this.#replaced(stored, this.#parts.now() + graceSeconds * 1_000)
    if (old.length >= webhookBounds.secrets)
      return conflict(`There are ${webhookBounds.secrets} secrets in force already: wait until one is over.`)
    this.#keep(id, { ...stored.options, headers }, [{ stored: this.#seal(id, secret) }, ...old])
    return { kind: 'done', value: secret }
  }

  /** @returns false where there is no such endpoint. @throws where the disk does not take it. */
  setPaused(id: string, paused: boolean): boolean {
    if (!this.#targets.has(id)) return false
    this.#setControl(id, { ...this.#controls.get(id), paused })
    return true
  }

  /** @returns false where there is no such endpoint. @throws where the disk does not take it. */
  enable(id: string): boolean {
    if (!this.#targets.has(id)) return false
    this.#liftDisabling(id)
    this.#changed()
    return true
  }

  /** Ends deliveries to an endpoint, even where the disk does not take it: then a restart tries it again. */
  disable(id: string, why: Omit<Disabling, 'urlHash'>): void {
    const target = this.#targets.get(id)
    if (!target) return
    const disabled = { ...why, urlHash: hashOf(target.endpoint.url) }
    const control = { paused: target.control.paused, disabled }
    try {
      this.#setControl(id, control)
    } catch (error) {
      this.#parts.logger.error(
        { webhook_id: id, exception: error },
        'cannot write that a webhook is disabled',
      )
      this.#controls.set(id, control)
      this.#changed()
    }
  }

  #setControl(id: string, control: Control): void {
    this.#parts.store.saveControl(id, control)
    this.#controls.set(id, control)
    this.#changed()
  }

  #tryToLift(id: string): void {
    try {
      this.#liftDisabling(id)
    } catch (error) {
      this.#parts.logger.error({ webhook_id: id, exception: error }, 'cannot write that a webhook is enabled')
    }
  }

  #liftDisabling(id: string): void {
    const control = this.#controls.get(id)
    if (!control?.disabled) return
    const rest = { paused: control.paused }
    this.#parts.store.saveControl(id, rest)
    this.#controls.set(id, rest)
  }

  /** An endpoint of this replica, or why it cannot be changed. */
  #editable(id: string): Local | WebhookRefusal {
    if (this.#file.has(id))
      return conflict('It is declared in the webhooks file, which all replicas share: change it there.')
    return this.#locals.get(id) ?? { kind: 'not_found' }
  }

  #read(draft: WholeDraft): ReturnType<ReadDraft> {
    const read = this.#parts.read(draft)
    if (read.kind === 'problems') return read
    const problem = urlProblem(draft.url, this.#parts.check)
    return problem === undefined ? read : { kind: 'problems', problems: [`url: ${problem}`] }
  }

  #keep(id: string, { headers = {}, ...options }: WebhookOptions, secrets: readonly StoredSecret[]): void {
    const stored = { id, options, headers: this.#seal(id, JSON.stringify(headers)), secrets }
    this.#parts.store.save(stored)
    this.#locals.set(id, this.#load(stored))
    this.#changed()
  }

  #seal(id: string, text: string): string {
    const { key, random } = this.#parts
    return key ? sealSecret(key, id, text, random) : text
  }

  /** Opens what is on disk whether or not it should be sealed; undefined where it cannot be. */
  #open(id: string, stored: string): string | undefined {
    const { key } = this.#parts
    try {
      if (!isSealed(stored)) return stored
      return key && openSecret(key, id, stored)
    } catch {
      return undefined
    }
  }

  #headers({ id, headers }: StoredWebhook): Record<string, string> | undefined {
    const text = this.#open(id, headers)
    return text === undefined ? undefined : headersIn(text)
  }

  /** The secrets that a new one replaces, sealed as they should be; those that are over, or cannot be opened, are gone. */
  #replaced({ id, secrets }: StoredWebhook, untilMs: number): StoredSecret[] {
    const nowMs = this.#parts.now()
    return secrets
      .map((secret) => ({ text: this.#open(id, secret.stored), untilMs: secret.untilMs ?? untilMs }))
      .filter((secret) => secret.untilMs > nowMs)
      .flatMap(({ text, untilMs: until }) =>
        text === undefined ? [] : [{ stored: this.#seal(id, text), untilMs: until }],
      )
  }

  #load(stored: StoredWebhook): Local {
    const { id, options } = stored
    try {
      const { key } = this.#parts
      const headers = headersIn(readStoredSecret(key, id, stored.headers))
      if (!headers) throw new Error('Cannot read its headers: set them anew')
      const secrets = stored.secrets.map(({ stored: text, untilMs }): WebhookSecret => {
        const value = readStoredSecret(key, id, text)
        return { value: () => value, ...(untilMs !== undefined && { untilMs }) }
      })
      const read = this.#read({ ...options, headers, id, secret: secrets[0]?.value() ?? '' })
      if (read.kind === 'document') return { stored, endpoint: { ...read.value, secrets } }
      return { stored, endpoint: bare(id, options), unusable: `${read.problems.join('; ')}.` }
    } catch (error) {
      return { stored, endpoint: bare(id, options), unusable: `${(error as Error).message}.` }
    }
  }

  #changed(): void {
    this.#combine()
    this.#parts.onChange()
  }

  #combine(): void {
    const targets = new Map<string, Target>()
    const ids = new Set([...this.#file.keys(), ...this.#locals.keys()])
    for (const id of [...ids].sort()) {
      const ofFile = this.#file.get(id)
      const local = this.#locals.get(id)
      const control = this.#controls.get(id) ?? { paused: false }
      if (ofFile) targets.set(id, targetOf(ofFile, 'file', control))
      else if (local) targets.set(id, targetOf(local.endpoint, 'replica', control, local.unusable))
    }
    this.#targets = targets
  }
}

/** What JSON holds; undefined where it is none. The parser's own error would quote some of it. */
function headersIn(text: string): Record<string, string> | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const cannotOpenHeaders = 'Its headers cannot be opened by this GATEPOST_SECRET_KEY: set them anew.'

function conflict(why: string): WebhookRefusal {
  return { kind: 'conflict', why }
}

function targetOf(
  endpoint: WebhookEndpoint,
  source: WebhookSource,
  control: Control,
  unusable?: string,
): Target {
  const target = { endpoint, source, control }
  const { paused, disabled } = control
  if (!endpoint.active) return { ...target, condition: 'inactive' }
  if (disabled && disabled.urlHash === hashOf(endpoint.url)) {
    return { ...target, condition: 'disabled', why: disablings[disabled.reason](disabled) }
  }
  if (unusable !== undefined) return { ...target, condition: 'unusable', why: unusable }
  return { ...target, condition: paused ? 'paused' : 'delivering' }
}

const disablings: Readonly<Record<Disabling['reason'], (disabling: Disabling) => string>> = {
  gone: () => 'The receiver answered 410: it wants no more deliveries.',
  failing: ({ failures }) => `Its last ${failures} attempts have failed, for more than five days.`,
}

function hashOf(url: string): string {
  return hash('sha256', url, 'base64url')
}

/** Puts a change in the place of what was said before; null takes it away. */
function changed(options: WebhookOptions, change: WebhookChange): WebhookOptions {
  const given = Object.entries(change).filter(([, value]) => value !== undefined)
  const rest = Object.entries({ ...options, ...Object.fromEntries(given) }).filter(
    ([, value]) => value !== null,
  )
  return Object.fromEntries(rest) as unknown as WebhookOptions
}

function problemsOf({ secret, graceSeconds = 0 }: Rotation): string[] {
  const most = webhookAdminBounds.graceSeconds
  const isWhole = Number.isInteger(graceSeconds) && graceSeconds >= 0 && graceSeconds <= most
  return [
    ...(secret === undefined || isWebhookSecret(secret) ? [] : [`secret: it must be ${webhookSecretForm}`]),
    ...(isWhole ? [] : [`grace_seconds: it must be a whole number from 0 to ${most}`]),
  ]
}

/** An endpoint to which nothing can be delivered, as far as it can be shown. */
function bare(id: string, options: StoredWebhook['options']): WebhookEndpoint {
  const { url, events = ['*'], active = true, filters = {}, ordered = false, retryPolicy = {} } = options
  const { maxRetries = webhookDefaults.maxRetries, backoffSeconds = webhookDefaults.backoffSeconds } =
    retryPolicy
  return {
    id,
    url,
    secrets: [],
    events,
    active,
    retryPolicy: { maxRetries, backoffMs: backoffSeconds * 1_000 },
    headers: {},
    filters,
    ordered,
    concurrency: options.concurrency ?? (ordered ? 1 : webhookDefaults.concurrency),
    timeoutMs: (options.timeoutSeconds ?? webhookDefaults.timeoutSeconds) * 1_000,
  }
}

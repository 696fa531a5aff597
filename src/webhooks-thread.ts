import { randomBytes, randomUUID } from 'node:crypto'
import type { MessagePort } from 'node:worker_threads'
import { followFile, readFile } from './config/followed-file.ts'
import {
  createDraftReader,
  createWebhooksReader,
  type ReadWebhooks,
  type WebhookContext,
} from './config/webhooks.ts'
import type { Logger } from './core/log.ts'
import type { WebhookEndpoint } from './core/webhooks.ts'
import type { StepReader } from './events/spool/turns.ts'
import { systemClock } from './surroundings.ts'
import { createSender } from './webhooks/attempt.ts'
import {
  type CheckAddress,
  checkByRules,
  createGuardedAgent,
  createSystemResolver,
  urlProblem,
} from './webhooks/guard.ts'
import { answerAt, type FromWebhooks } from './webhooks/link.ts'
import { Webhooks } from './webhooks/service.ts'

/** What delivering needs to be told. Plain data, for a thread. */
export interface WebhooksJob {
  /** The data folder. */
  folder: string
  /** The most bytes that deliveries take on disk. */
  maxBytes: number
  /** What endpoints are read against, and the file of those that are delivered to from here; absent where there is none. */
  context: WebhookContext
  path?: string
  /** The name of the reader's place in the log. */
  reader: string
  allowPrivate: boolean
  /** Seals secrets; absent where no GATEPOST_SECRET_KEY is set. */
  key?: Uint8Array
  /** Where calls come from. */
  port: MessagePort
}

/**
 * Makes the reader of the log that delivers webhooks, and lets the main thread manage it.
 * @throws where the endpoints of this replica cannot be read.
 */
export function createWebhooks(job: WebhooksJob, logger: Logger): StepReader {
  const { folder, maxBytes, context, path, reader, allowPrivate, key, port } = job
  const tell = (message: FromWebhooks) => port.postMessage(message)
  const check = checkByRules({ allowPrivate, allowPlaintext: context.allowPlaintext })
  const dispatcher = createGuardedAgent({ check, resolve: createSystemResolver() })
  const clock = systemClock
  const webhooks = new Webhooks({
    folder,
    maxBytes,
    key: key && Buffer.from(key),
    readDraft: createDraftReader(context),
    check,
    send: createSender({ dispatcher, check, clock, monotonicMs: () => performance.now() }),
    clock,
    random: Math.random,
    randomBytes,
    newId: randomUUID,
    defer: setImmediate,
    logger,
    onDisabled: (what, atMs) => tell({ kind: 'disabled', what, atMs }),
    onReport: (report) => tell({ kind: 'report', report }),
  })
  const file = path === undefined ? undefined : follow(path, guarded(createWebhooksReader(context), check))

  function follow(name: string, read: ReadWebhooks) {
    const first = readFile(name, read)
    // The main thread has read it a moment ago, and found it good: a bad one now is one that was just written.
    if (first.kind === 'problems')
      logger.error({ path: name, problems: first.problems }, 'webhooks file not read')
    const endpoints = first.kind === 'document' ? first.value : []
    webhooks.adoptFile(endpoints)
    const onChange = (changed: readonly WebhookEndpoint[]) => webhooks.adoptFile(changed)
    return followFile(name, endpoints, { read, clock, logger, onChange })
  }

  answerAt(port, webhooks.admin, () => void file?.reload())
  return {
    kind: 'step',
    name: reader,
    prepare: (database) => webhooks.prepare(database),
    wants: (types) => webhooks.wants(Object.keys(types)),
    maxEvents: () => webhooks.maxEvents,
    step: (events) => webhooks.step(events),
    onStepped: () => webhooks.onStepped(),
    start: (work) => webhooks.start(work),
    async stop(withinMs) {
      file?.close()
      await webhooks.stop(withinMs)
      await dispatcher.destroy()
    },
  }
}

/** A reader that also asks whether deliveries may go where endpoints say, as far as URLs tell. */
export function guarded(read: ReadWebhooks, check: CheckAddress): ReadWebhooks {
  return (name, text) => {
    const result = read(name, text)
    if (result.kind === 'problems') return result
    const problems = refusedEndpoints(result.value, check).map((problem) => `${name}: ${problem}`)
    return problems.length > 0 ? { kind: 'problems', problems } : result
  }
}

/** Says which endpoints deliveries must not go to, and why: a line for each. */
export function refusedEndpoints(endpoints: readonly WebhookEndpoint[], check: CheckAddress): string[] {
  return endpoints.flatMap(({ id, url }) => {
    const problem = urlProblem(url, check)
    return problem === undefined ? [] : [`webhook ${JSON.stringify(id)}: url: ${problem}`]
  })
}

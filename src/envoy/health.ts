import { type ServerWritableStream, status } from '@grpc/grpc-js'
import type { HealthHandlers } from './gen/grpc/health/v1/Health.ts'
import type { HealthCheckRequest__Output } from './gen/grpc/health/v1/HealthCheckRequest.ts'
import type { HealthCheckResponse } from './gen/grpc/health/v1/HealthCheckResponse.ts'

type Watch = ServerWritableStream<HealthCheckRequest__Output, HealthCheckResponse>

/**
 * `grpc.health.v1.Health` for the server as a whole and each of its services, which stand and fall together.
 * It begins as NOT_SERVING.
 */
export class Health {
  readonly #services: ReadonlySet<string>
  readonly #watches = new Set<Watch>()
  #serving = false

  /** @param services full names of the services beside the server's own, which is empty. */
  constructor(services: readonly string[]) {
    this.#services = new Set(['', ...services])
  }

  get serving(): boolean {
    return this.#serving
  }

  set serving(serving: boolean) {
    if (serving === this.#serving) return
    this.#serving = serving
    for (const watch of this.#watches) watch.write(this.#status(watch.request))
  }

  /** Ends every watch: they never end by themselves and would hold the server open. */
  endWatches(): void {
    for (const watch of this.#watches) watch.end()
    this.#watches.clear()
  }

  readonly handlers: HealthHandlers = {
    Check: ({ request }, callback) => {
      if (this.#knows(request)) callback(null, this.#status(request))
      else callback({ code: status.NOT_FOUND, details: 'no such service' })
    },
    Watch: (watch) => {
      this.#watches.add(watch)
      watch.on('close', () => this.#watches.delete(watch))
      watch.on('error', () => this.#watches.delete(watch))
      watch.on('cancelled', () => {
        this.#watches.delete(watch)
        watch.end()
      })
      watch.write(this.#status(watch.request))
    },
  }

  #knows({ service = '' }: HealthCheckRequest__Output): boolean {
    return this.#services.has(service)
  }

  #status(request: HealthCheckRequest__Output): HealthCheckResponse {
    if (!this.#knows(request)) return { status: 'SERVICE_UNKNOWN' }
    return { status: this.#serving ? 'SERVING' : 'NOT_SERVING' }
  }
}

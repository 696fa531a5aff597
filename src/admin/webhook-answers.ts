import type { FastifyReply } from 'fastify'
import type { WebhookAnswer } from '../core/webhook-admin.ts'
import { problem, refuse } from './http.ts'

/**
 * Answers with what came of a call: the value as `show` writes it, or a problem.
 * @param missing the sentence where there is no such thing.
 */
export function send<T>(
  reply: FastifyReply,
  answer: WebhookAnswer<T>,
  show: (value: T) => unknown,
  missing = 'Not found',
): FastifyReply {
  switch (answer.kind) {
    case 'done':
      return reply.send(show(answer.value))
    case 'not_found':
      return problem(reply, 404, missing)
    case 'conflict':
      return problem(reply, 409, answer.why)
    case 'invalid':
      return refuse(reply, 400, answer.problems)
    case 'unavailable':
      return problem(reply, 503, answer.why)
  }
}

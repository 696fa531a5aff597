import Type, { type TSchema } from 'typebox'

/** A time as the API shows and reads it: RFC 3339. */
export function time(description: string) {
  return Type.String({ format: 'date-time', description })
}

/** A count of something. */
export function count(description: string) {
  return Type.Integer({ minimum: 0, description })
}

/** A text. */
export function text(description: string) {
  return Type.String({ description })
}

/** Shows a time. @param ms milliseconds since the epoch. */
export function showTime(ms: number): string {
  return new Date(ms).toISOString()
}

/** Shows a time that may be absent under its name. */
export function timeWhere<Name extends string>(name: Name, ms: number | undefined): { [K in Name]?: string } {
  return (ms === undefined ? {} : { [name]: showTime(ms) }) as { [K in Name]?: string }
}

/** What is wrong (RFC 9457). */
const problemSchema = Type.Object(
  {
    title: text('What is wrong, as a sentence.'),
    status: Type.Integer({ minimum: 400, maximum: 599, description: 'The HTTP status.' }),
    problems: Type.Optional(
      Type.Array(Type.String(), { minItems: 2, description: 'Each one, where there are several.' }),
    ),
  },
  { $id: 'Problem', description: 'What is wrong.', additionalProperties: false },
)

/** Schemas that several answers have in common, each with its name as `$id`. */
export type SharedSchemas = readonly TSchema[]

/** Those that every part of the API uses. */
export const commonSchemas: SharedSchemas = [problemSchema]

/** Points to a shared schema by its name. */
export function shared(id: string) {
  return Type.Ref(`${id}#`)
}

/** An answer in JSON that is as its schema says. */
export function answer(description: string, schema: TSchema) {
  return { description, content: { 'application/json': { schema } } }
}

/** An answer without a body. */
export function emptyAnswer(description: string) {
  return { ...Type.Null(), description }
}

const reasons = {
  400: 'The request does not do; each problem names the member.',
  404: 'There is no such thing.',
  409: 'What is there stands against it.',
  503: 'Nobody can say at the moment: ask again.',
} as const

/** The problems that an operation may answer with, beside those that every one may. */
export function problems(...statuses: readonly (keyof typeof reasons)[]) {
  return {
    ...Object.fromEntries(statuses.map((status) => [status, problemAnswer(reasons[status])])),
    401: problemAnswer('The admin token is missing, or is another one.'),
    default: problemAnswer(
      'Any other problem, such as a host that is not known here, or a body that is too large.',
    ),
  }
}

/** An answer that is a problem. */
export function problemAnswer(description: string) {
  return { description, content: { 'application/problem+json': { schema: shared('Problem') } } }
}

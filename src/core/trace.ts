/**
 * Reads the trace id of a `traceparent` header (W3C Trace Context §3.2): 32 hex digits.
 * @returns undefined where there is none, or not a valid one.
 */
export function traceId(traceparent: string | undefined): string | undefined {
  const [, id] = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-|$)/.exec(traceparent ?? '') ?? []
  return id === undefined || /^0+$/.test(id) ? undefined : id
}

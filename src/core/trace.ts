/**
 * Reads the trace id of a `traceparent` header (W3C Trace Context §3.2): 32 hex digits.
 * @returns undefined where there is none, or not a valid one.
 */
export function traceId(traceparent: string | undefined): string | undefined {
  const [, version, id, rest] = traceParent.exec(traceparent ?? '') ?? []
  // Version ff is invalid, and only those after 00 may bring more fields (§3.2.2.1, §4.3).
  return version === 'ff' || (version === '00' && rest !== '') ? undefined : id
}

// An id of nothing but zeros is no id.
const traceParent = /^([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}($|-)/

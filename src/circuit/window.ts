import type { Totals } from '../core/circuit-view.ts'
import type { Evidence } from '../core/upstream-fitness.ts'

/** A tenth of a window. */
interface Bucket extends Totals {
  /** Which tenth since the epoch. */
  index: number
}

/** A sliding window: at most ten buckets, oldest first. */
export type Window = readonly Bucket[]

/** Into how many buckets a window falls; it slides by one. */
const bucketsPerWindow = 10

/** The window without what has slid out of it. A clock that goes back changes nothing. */
export function slide(window: Window, windowMs: number, nowMs: number): Window {
  const oldest = indexAt(windowMs, nowMs) - bucketsPerWindow
  return window.some(({ index }) => index <= oldest) ? window.filter(({ index }) => index > oldest) : window
}

/** The window with one more outcome in it. */
export function add(window: Window, evidence: Evidence, windowMs: number, nowMs: number): Window {
  const kept = slide(window, windowMs, nowMs)
  const last = kept.at(-1)
  // With the clock set back, time stands still until it has caught up.
  const index = Math.max(indexAt(windowMs, nowMs), last?.index ?? 0)
  const isNew = last?.index !== index
  const bucket = isNew || !last ? { index, requests: 0, failures: 0, slow: 0 } : last
  return [...(isNew ? kept : kept.slice(0, -1)), count(bucket, evidence)]
}

/** Adds the buckets up. */
export function totals(window: Window): Totals {
  const sum = { requests: 0, failures: 0, slow: 0 }
  for (const { requests, failures, slow } of window) {
    sum.requests += requests
    sum.failures += failures
    sum.slow += slow
  }
  return sum
}

function count(bucket: Bucket, { failed, slow }: Evidence): Bucket {
  return {
    index: bucket.index,
    requests: bucket.requests + 1,
    failures: bucket.failures + (failed ? 1 : 0),
    slow: bucket.slow + (slow ? 1 : 0),
  }
}

function indexAt(windowMs: number, nowMs: number): number {
  return Math.floor((nowMs * bucketsPerWindow) / windowMs)
}

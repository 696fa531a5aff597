/** So many units in so much time. Both are whole numbers from 1 on. */
export interface Rate {
  limit: number
  windowMs: number
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** The longest window. */
const maxWindowMs = 31 * 86_400_000

/**
 * Reads a rate such as `100/1m`: 1 to 1,000,000,000 requests in 1 ms to 31 days.
 * @returns undefined where the text is none.
 */
export function parseRate(text: string): Rate | undefined {
  const [, limit, count, unit] = /^(\d{1,10})\/(\d{0,9})(ms|s|m|h|d)$/.exec(text) ?? []
  const rate = { limit: Number(limit), windowMs: parseWindow(`${count || '1'}${unit}`) ?? Number.NaN }
  return rate.limit >= 1 && rate.limit <= 1e9 && rate.windowMs >= 1 ? rate : undefined
}

/** Reads a time such as `1m`, from 1 ms to 31 days, in milliseconds. @returns undefined where the text is none. */
export function parseWindow(text: string): number | undefined {
  const [, count, unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? []
  const ms = Number(count) * (unitMs[unit] ?? Number.NaN)
  return ms >= 1 && ms <= maxWindowMs ? ms : undefined
}

/** What a rate must look like, to complete the sentence "it must be …". */
export const rateForm = 'a rate such as 100/1m, of at most 1000000000 requests and 31 days'

/** Writes a window as people read it. */
export function showWindow(windowMs: number): string {
  const unit = ['d', 'h', 'm', 's'].find((name) => windowMs % (unitMs[name] ?? 1) === 0) ?? 'ms'
  return `${windowMs / (unitMs[unit] ?? 1)}${unit}`
}

/** Writes a rate as its setting spells it. */
export function showRate({ limit, windowMs }: Rate): string {
  return `${limit}/${showWindow(windowMs)}`
}

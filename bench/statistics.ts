/** The median; NaN of none. */
export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.floor(sorted.length / 2)]]
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2
}

/** The value below which that share (0 to 1) of the ascending values lies. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** A ratio, and where it would lie in 95 of 100 repetitions. */
export interface Estimate {
  ratio: number
  low: number
  high: number
}

/** Draws behind an interval: its ends then have some 25 beyond them. */
const resamples = 1_000

/**
 * How many times the quantile of all rounds' times together is that of the base's. Times of one round have its moment in
 * common and say little of how sure the quantile is; whole rounds do: the interval is that of rounds drawn anew, with
 * repetition, from those measured (the bootstrap).
 */
export function quantileRatio(
  rounds: readonly (readonly number[])[],
  base: readonly (readonly number[])[],
  share: number,
): Estimate {
  const [counted, countedBase] = [rounds.map(histogramOf), base.map(histogramOf)]
  const ratios = Array.from({ length: resamples }, () => {
    return quantileOf(drawAnew(counted), share) / quantileOf(drawAnew(countedBase), share)
  }).sort((a, b) => a - b)
  return {
    ratio: quantile(together(rounds), share) / quantile(together(base), share),
    low: quantile(ratios, 0.025),
    high: quantile(ratios, 0.975),
  }
}

/** The times of all rounds, ascending. */
export function together(rounds: readonly (readonly number[])[]): number[] {
  return rounds.flat().sort((a, b) => a - b)
}

/** Each bin of a histogram is half a percent wider than the one before; the first begins at a microsecond. */
const [leastMs, growth, bins] = [0.001, Math.log(1.005), 4_200]

function histogramOf(timesMs: readonly number[]): Uint32Array {
  const histogram = new Uint32Array(bins)
  for (const ms of timesMs) {
    const bin = Math.min(bins - 1, Math.max(0, Math.floor(Math.log(ms / leastMs) / growth)))
    histogram[bin] = (histogram[bin] ?? 0) + 1
  }
  return histogram
}

/** As many rounds as there are, each any of them, together. */
function drawAnew(histograms: readonly Uint32Array[]): Uint32Array {
  const sum = new Uint32Array(bins)
  for (let drawn = 0; drawn < histograms.length; drawn += 1) {
    const histogram = histograms[Math.floor(Math.random() * histograms.length)]
    histogram?.forEach((count, bin) => {
      sum[bin] = (sum[bin] ?? 0) + count
    })
  }
  return sum
}

function quantileOf(histogram: Uint32Array, share: number): number {
  const wanted = histogram.reduce((total, count) => total + count, 0) * share
  let below = 0
  const bin = histogram.findIndex((count) => {
    below += count
    return below > wanted
  })
  return leastMs * Math.exp(growth * (bin + 0.5))
}

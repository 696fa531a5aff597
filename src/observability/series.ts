/** How many values of a label have a name at the same time. */
export const labelBudgets = { method: 16, route: 500, clientId: 200, service: 200 } as const

/** The client id of a caller who has none. */
export const anonymousClient = 'anonymous'

/** A metric whose series can be removed one by one. */
interface Labelled {
  get(): Promise<{
    values: readonly { labels: Partial<Record<string, string | number>>; metricName?: string }[]
  }>
  remove(labels: Partial<Record<string, string | number>>): void
}

/** Removes every series with this label. It reads the series first, which takes a turn: nobody waits for it. */
export function forgetLabel(metrics: readonly unknown[], label: Readonly<Record<string, string>>): void {
  for (const metric of metrics as Labelled[]) void forgetIn(metric, label)
}

async function forgetIn(metric: Labelled, label: Readonly<Record<string, string>>): Promise<void> {
  const [wanted] = Object.entries(label)
  if (!wanted) return
  const [name, value] = wanted
  const { values } = await metric.get()
  for (const { labels } of values) {
    if (labels[name] === value) metric.remove(withoutBucket(labels))
  }
}

function withoutBucket({ le: _bucket, ...labels }: Partial<Record<string, string | number>>) {
  return labels
}

/** Reads counters of Envoy's admin interface, by their names. A counter that is not there yet is 0. */
export async function envoyCounters<N extends string>(
  adminAddress: string,
  names: readonly N[],
): Promise<Record<N, number>> {
  const pattern = `^(${names.join('|').replaceAll('.', '\\.')})$`
  const response = await fetch(`http://${adminAddress}/stats?filter=${encodeURIComponent(pattern)}`)
  const lines = (await response.text()).split('\n').map((line) => line.split(': ') as [string, string])
  const values = new Map(lines)
  return Object.fromEntries(names.map((name) => [name, Number(values.get(name) ?? 0)])) as Record<N, number>
}

/** Adds up the series of one of Gatepost's counters that have these labels. */
export async function counterSum(
  adminAddress: string,
  name: string,
  labels: Readonly<Record<string, string>>,
): Promise<number> {
  const response = await fetch(`http://${adminAddress}/metrics`)
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  return (await response.text())
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && wanted.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}

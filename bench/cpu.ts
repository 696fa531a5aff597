import { readFile } from 'node:fs/promises'

// The unit of /proc/PID/stat is USER_HZ, which is 100 on every architecture that Node runs on.
const msPerTick = 10

/**
 * The CPU time that a process has used so far, user and system, all threads, in milliseconds.
 * @throws where there is no such process, or no /proc.
 */
export async function cpuMs(pid: number): Promise<number> {
  const [user = 0, system = 0] = await processTimes(String(pid))
  return user + system
}

/** The same of its main thread alone. */
export async function mainThreadCpuMs(pid: number): Promise<number> {
  const [user = 0, system = 0] = await processTimes(`${pid}/task/${pid}`)
  return user + system
}

/** The same for this process, and for all its children that have ended. */
export async function ownCpuMs(): Promise<number> {
  return sum(await processTimes('self'))
}

/** The CPU time that the whole machine has used so far, on all its cores, in milliseconds. */
export async function machineCpuMs(): Promise<number> {
  const [line = ''] = (await read('/proc/stat')).split('\n')
  const [user = 0, nice = 0, system = 0, _idle, _iowait, irq = 0, softirq = 0, steal = 0] = line
    .trim()
    .split(/ +/)
    .slice(1)
    .map(Number)
  return sum([user, nice, system, irq, softirq, steal]) * msPerTick
}

/** User, system, and the same of the children that have ended. */
async function processTimes(pid: string): Promise<number[]> {
  const stat = await read(`/proc/${pid}/stat`)
  // The second field is the command's name in parentheses and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields.slice(11, 15).map((ticks) => Number(ticks) * msPerTick)
}

function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`Cannot read ${file}: the benchmark needs Linux, and every process alive`, { cause })
  })
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

import { execFileSync } from 'node:child_process'
import { getPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'

const garbageFile = fileURLToPath(new URL('../src/garbage.ts', import.meta.url))

/** V8's own account of the flags that a process has, once the module has set them. */
const script = `
  const { calmGarbageCollections } = await import(process.argv[1])
  calmGarbageCollections()
  ;(await import('node:v8')).setFlagsFromString('--help')`

/** Each thread's name and priority, of a process that has called the module. */
const threadsScript = `
  const { calmGarbageCollections } = await import(process.argv[1])
  calmGarbageCollections()
  const { readdirSync, readFileSync } = await import('node:fs')
  const { getPriority } = await import('node:os')
  const threads = readdirSync('/proc/self/task').map((id) => ({
    isMain: Number(id) === process.pid,
    isHelper: readFileSync('/proc/self/task/' + id + '/comm', 'utf8').startsWith('V8Worker'),
    priority: getPriority(Number(id)),
  }))
  console.log(JSON.stringify(threads))`

function inProcess(code: string): string {
  return execFileSync(process.execPath, ['--input-type=module', '--eval', code, garbageFile], {
    encoding: 'utf8',
  })
}

test('V8’s helpers step back, and nobody else', () => {
  const threads = JSON.parse(inProcess(threadsScript)) as Record<
    'isMain' | 'isHelper' | 'priority',
    unknown
  >[]

  const helpers = threads.filter(({ isHelper }) => isHelper)
  const others = threads.filter(({ isHelper }) => !isHelper)
  expect(helpers.length).toBeGreaterThan(0)
  expect(new Set(helpers.map(({ priority }) => priority))).toEqual(new Set([10]))
  expect(others.some(({ isMain }) => isMain)).toBe(true)
  expect(new Set(others.map(({ priority }) => priority))).toEqual(new Set([getPriority()]))
})

test('V8 has the flags, and takes them', () => {
  const help = inProcess(script)

  expect(help).toMatch(
    /--concurrent-marking-max-worker-num .*\n.*type: int.*default: (--concurrent-marking-max-worker-num=)?1\b/,
  )
  expect(help).toMatch(/--parallel-scavenge .*\n.*type: bool.*default: --no-parallel-scavenge/)
  expect(help).toMatch(
    /--allocation-site-pretenuring .*\n.*type: bool.*default: --no-allocation-site-pretenuring/,
  )
  expect(help).toMatch(/--heap-growing-percent .*\n.*type: int.*default: (--heap-growing-percent=)?100\b/)
})

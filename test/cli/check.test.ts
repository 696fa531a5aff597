import { expect, test } from '@jest/globals'
import { type ProbeResult, runChecks } from '../../src/cli/check.ts'

/** Runs checks that end as told, in the order of the arguments. */
async function check(...results: readonly (ProbeResult | Error)[]) {
  const written: string[] = []
  const probes = results.map((result, at) => ({
    subject: `probe ${at}`,
    run: async () => {
      if (result instanceof Error) throw result
      return result
    },
  }))
  const exitCode = await runChecks(probes, (text) => written.push(text))
  return { exitCode, text: written.join('') }
}

const ok = { outcome: 'ok', detail: 'fine' } as const
const note = { outcome: 'note', detail: 'none runs' } as const
const failed = { outcome: 'failed', detail: 'no key fits' } as const
const unreachable = { outcome: 'unreachable', detail: 'refused' } as const

test.each([
  ['all is well', [ok, note], 0],
  ['one fails', [ok, failed, note], 1],
  ['one is unreachable', [unreachable, ok], 69],
  ['one fails and another is unreachable', [failed, unreachable], 69],
  ['one breaks', [ok, new Error('x is not a function')], 1],
])('exits rightly where %s', async (_what, results, exitCode) => {
  expect((await check(...results)).exitCode).toBe(exitCode)
})

test('writes one line for each probe, in order, and further lines below the first', async () => {
  const { text } = await check(ok, { outcome: 'ok', detail: 'one\ntwo' }, unreachable, note)

  expect(text).toBe(
    [
      'probe 0  ok      fine',
      'probe 1  ok      one',
      '                 two',
      'probe 2  FAILED  refused',
      'probe 3  -       none runs',
      '',
    ].join('\n'),
  )
})

test('a probe that breaks takes no other with it', async () => {
  const { text } = await check(new Error('x is not a function'), ok)

  expect(text).toBe('probe 0  FAILED  x is not a function\nprobe 1  ok      fine\n')
})

import { expect, test } from '@jest/globals'
import { type LintReport, lintCommand } from '../../src/cli/lint.ts'

const rules = [{ id: 'route-timeout', title: 'no timeout', why: 'It hangs.', mend: 'Set it.' }]

const finding = {
  rule: 'route-timeout',
  line: 3,
  column: 5,
  message: 'none is set',
  why: 'It hangs.',
  mend: 'Set it.',
}

const nothing: LintReport = { files: 1, findings: [], problems: [] }

async function run(
  operands: readonly string[],
  options: Parameters<typeof lintCommand>[1] = {},
  report = nothing,
) {
  let out = ''
  let err = ''
  const asked: (readonly string[])[] = []
  const code = await lintCommand(operands, options, {
    rules,
    async lint(names) {
      asked.push(names)
      return report
    },
    answer: (text) => {
      out += text
    },
    complain: (text) => {
      err += text
    },
  })
  return { code, out, err, asked }
}

test('nothing found is 0, and says of how many files', async () => {
  expect(await run(['a.yaml', '-'])).toEqual({
    code: 0,
    out: '1 file: nothing found\n',
    err: '',
    asked: [['a.yaml', '-']],
  })
})

test('findings are grouped by file, why and mend told once for each rule, and the exit code is 1', async () => {
  const findings = [
    { ...finding, file: 'a.yaml' },
    { ...finding, file: 'a.yaml', line: 12 },
    { ...finding, file: 'b.yaml' },
  ]

  const { code, out, err } = await run(['.'], {}, { files: 3, findings, problems: [] })

  expect({ code, err }).toEqual({ code: 1, err: '' })
  expect(out.split('\n')).toEqual([
    'a.yaml',
    '  3:5      route-timeout: none is set',
    '           why   It hangs.',
    '           mend  Set it.',
    '  12:5     route-timeout: none is set',
    '',
    'b.yaml',
    '  3:5      route-timeout: none is set',
    '',
    '3 files: 3 findings',
    '',
  ])
})

test('a file that cannot be read or parsed is named on stderr, and the exit code is 1', async () => {
  const problems = [
    { file: 'a.yaml', message: 'cannot be read: there is no such file' },
    { file: 'b.yaml', line: 2, column: 1, message: 'is nested too deeply' },
  ]

  expect(await run(['.'], {}, { files: 1, findings: [], problems })).toMatchObject({
    code: 1,
    out: '1 file: nothing found, 2 problems\n',
    err: 'a.yaml cannot be read: there is no such file\nb.yaml:2:1: is nested too deeply\n',
  })
})

test('--json gives the report as it is, problems included, and the same exit code', async () => {
  const report = {
    files: 1,
    findings: [{ ...finding, file: 'a.yaml' }],
    problems: [{ file: 'b', message: 'c' }],
  }

  const { code, out, err } = await run(['.'], { json: true }, report)

  expect({ code, err, report: JSON.parse(out) }).toEqual({ code: 1, err: '', report })
})

test('--rules lists the rules and looks at nothing', async () => {
  expect(await run([], { rules: true })).toEqual({
    code: 0,
    out: 'route-timeout            no timeout\n',
    err: '',
    asked: [],
  })
  expect(JSON.parse((await run([], { rules: true, json: true })).out)).toEqual(rules)
})

test('without files it is misuse: 64', async () => {
  expect(await run([])).toEqual({
    code: 64,
    out: '',
    err: 'lint wants FILES, folders, or - for standard input. Try gatepost lint --help\n',
    asked: [],
  })
})

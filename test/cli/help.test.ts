import { expect, test } from '@jest/globals'
import { commands } from '../../src/cli/arguments.ts'
import { helpText } from '../../src/cli/help.ts'
import { describeVariables, variables } from '../../src/config/variables.ts'

test('the general help names every command and every exit code', () => {
  const help = helpText(undefined, [])

  for (const command of commands) expect(help).toMatch(new RegExp(`^  gatepost \\[?${command}\\b`, 'm'))
  for (const code of [0, 1, 64, 69, 78]) expect(help).toMatch(new RegExp(`\\b${code}\\b`))
})

test('the help of serve names every variable with its default', () => {
  const help = helpText('serve', describeVariables())

  for (const name of Object.keys(variables)) expect(help).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
  expect(help).toContain('  GATEPOST_GRPC_ADDRESS (127.0.0.1:9001)\n')
  expect(help).toContain('  GATEPOST_ADMIN_TOKEN, GATEPOST_ADMIN_TOKEN_FILE\n')
})

test('the help of check says what its exit codes mean', () => {
  expect(helpText('check', describeVariables())).toMatch(/69 an issuer is unreachable/)
})

test.each([undefined, ...commands])('no line of the help of %s is too wide for a terminal', (command) => {
  const lines = helpText(command, describeVariables()).split('\n')

  expect(lines.filter((line) => line.length > 120)).toEqual([])
})

test('a long meaning is wrapped between words and loses none', () => {
  const meaning = Array.from({ length: 100 }, (_, at) => `word${at}`).join(' ')

  const help = helpText('serve', [{ name: 'NAME', meaning }])

  expect(help.slice(help.indexOf('word0')).split(/\s+/).filter(Boolean).join(' ')).toBe(meaning)
})

import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { cases, fillPage, pagePath } from '../../scripts/explain.ts'

const page = readFileSync(pagePath, 'utf8')

test('the answers on the page are what the command says now (mend: npm run generate)', async () => {
  expect(await fillPage(page)).toBe(page)
})

test('there are fourteen answers: four that allow, nine refusals of different kinds, and a fault', () => {
  const verdicts = page.match(/^(allowed|refused: \d+ \w+( \(\w+\))?|no verdict)/gm) ?? []

  expect(cases).toHaveLength(14)
  expect(verdicts).toHaveLength(14)
  expect(verdicts.filter((verdict) => verdict === 'allowed')).toHaveLength(4)
  expect(new Set(verdicts).size).toBe(11)
})

test('the page shows no token', () => {
  expect(page).not.toMatch(/eyJ/)
})

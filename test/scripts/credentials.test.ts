import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { fillPage, pagePath } from '../../scripts/credentials.ts'
import { tokenCalls } from '../../src/app-auth.ts'
import { variables } from '../../src/config/variables.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { precedence } from '../auth/precedence-table.ts'
import { noSources } from '../support/metrics.ts'

const page = readFileSync(pagePath, 'utf8')

test('the tables of the page are what the code says now (mend: npm run generate)', () => {
  expect(fillPage(page)).toBe(page)
})

test('the page has a row for each of the table’s, and the bounds of calls', () => {
  const rows = page.split('\n').filter((line) => line.startsWith('| '))

  expect(rows.length).toBeGreaterThan(precedence.length)
  expect(page).toContain('| absent | absent | absent | 401 `missing_token` | anonymous | anonymous |')
  expect(page).toContain(`| ${tokenCalls.maxConcurrent}, ${tokenCalls.maxQueued} |`)
})

test('every environment variable that the page names is one', () => {
  const named = page.match(/\b(?:GATEPOST|OKTA)_[A-Z_]+\b/g) ?? []

  expect(named.length).toBeGreaterThan(0)
  expect(named.filter((name) => !(name in variables))).toEqual([])
})

test('every metric that the page names is one', () => {
  const { registry } = createMetrics(noSources)
  const named = page.match(/\bgateway_[a-z_]+\b/g) ?? []

  expect(named.filter((name) => !registry.getSingleMetric(name))).toEqual([])
})

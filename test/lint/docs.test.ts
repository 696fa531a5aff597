import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { fillPage, pagePath } from '../../scripts/lint-docs.ts'

test('the page says of each rule what the table says (mend: npm run generate)', () => {
  const page = readFileSync(pagePath, 'utf8')

  expect(fillPage(page)).toBe(page)
})

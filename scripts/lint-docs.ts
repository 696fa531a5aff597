import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { listedRules } from '../src/lint/lint.ts'
import { fillSections } from './sections.ts'

/** The page on disk. */
export const pagePath = fileURLToPath(new URL('../docs/lint.md', import.meta.url))

function ruleSections(): string {
  return listedRules
    .map(({ id, title, why, mend }) => `### ${id}\n\nFinds: ${title}.\n\n${why}\n\n**Mend.** ${mend}`)
    .join('\n\n')
}

/** Fills the generated section of the page. @throws Error where the page lacks it, or has one that nothing fills. */
export function fillPage(page: string): string {
  return fillSections(page, { rules: ruleSections })
}

if (import.meta.main) writeFileSync(pagePath, fillPage(readFileSync(pagePath, 'utf8')))

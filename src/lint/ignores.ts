import type { Place } from './document.ts'

/** A comment that silences rules: `# gatepost-lint-ignore: rule-id reason`. */
export interface Ignore extends Place {
  rule: string
  reason: string
  /** The lines whose findings it silences: its own, and the one below a block of comments. */
  lines: readonly number[]
}

const form = /#\s*gatepost-lint-ignore\b:?\s*(\S*)\s*(.*)$/

/** Finds the comments that silence rules; one that stands alone speaks for the next line that is no comment. */
export function findIgnores(text: string): Ignore[] {
  if (!text.includes('gatepost-lint-ignore')) return []
  const found: Ignore[] = []
  let next = 0
  for (const [at, line] of [...text.split(/\r?\n/).entries()].reverse()) {
    const match = form.exec(line)
    const [, rule = '', reason = ''] = match ?? []
    const lines = isComment(line) ? [at + 1, next] : [at + 1]
    if (match) found.push({ line: at + 1, column: match.index + 1, rule, reason: reason.trim(), lines })
    if (!isComment(line)) next = at + 1
  }
  return found.reverse()
}

function isComment(line: string): boolean {
  return line.trimStart().startsWith('#')
}

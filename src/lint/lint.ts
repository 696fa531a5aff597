import { type LintDocument, type Place, type Problem, parseFile } from './document.ts'
import { findIgnores, type Ignore } from './ignores.ts'
import type { Rule } from './rule.ts'
import { rules } from './rules.ts'
import { createScope } from './scope.ts'

/** A file as it was read. */
export interface LintFile {
  name: string
  text: string
}

/** A trap in a file. */
export interface Finding extends Place {
  rule: string
  file: string
  message: string
  why: string
  mend: string
}

/** What was found, in the order of files and lines; files with problems are looked at as far as they can be read. */
export interface LintResult {
  findings: readonly Finding[]
  problems: readonly Problem[]
}

/** Of the comment that silences a rule, not of any document. */
const badIgnore: Pick<Rule, 'id' | 'title' | 'why' | 'mend'> = {
  id: 'ignore-comment',
  title: 'a comment silences no rule that there is, or gives no reason',
  why: 'Nobody can tell later whether what it hides is still meant, and a misspelled one hides nothing.',
  mend: 'Write `# gatepost-lint-ignore: rule-id reason` on the line of the finding or above it.',
}

/** Every rule as it is listed: what it finds, why that bites, what to do. */
export const listedRules: readonly Pick<Rule, 'id' | 'title' | 'why' | 'mend'>[] = [...rules, badIgnore]

/** Looks for traps in files that belong together: some show only between one file and another. */
export function lint(files: readonly LintFile[]): LintResult {
  const parsed = files.map(({ name, text }) => parseFile(name, text))
  const documents = parsed.flatMap((file) => file.documents)
  const ignores = files.map(({ name, text }) => ({ name, ignores: findIgnores(text) }))
  const byFile = new Map(ignores.map((file) => [file.name, file.ignores]))
  const found = findings(documents).filter((finding) => !isIgnored(finding, byFile.get(finding.file) ?? []))
  const bad = ignores.flatMap((file) =>
    file.ignores.filter(isBad).map((ignore) => complaint(file.name, ignore)),
  )
  return {
    findings: inOrder([...found, ...bad], files),
    problems: parsed.flatMap((file) => file.problems),
  }
}

function findings(documents: readonly LintDocument[]): Finding[] {
  const scope = createScope(documents)
  const found = rules.flatMap(({ id, why, mend, check }) =>
    [...check(scope)].map(({ at, says }) => ({
      ...{ rule: id, file: at.file, ...at.place },
      ...{ message: says, why, mend },
    })),
  )
  // An anchor and its aliases are one place.
  return [...new Map(found.map((finding) => [JSON.stringify(finding), finding])).values()]
}

function isIgnored({ rule, line }: Finding, ignores: readonly Ignore[]): boolean {
  return ignores.some((ignore) => ignore.rule === rule && ignore.reason !== '' && ignore.lines.includes(line))
}

function isBad({ rule, reason }: Ignore): boolean {
  return reason === '' || !rules.some(({ id }) => id === rule)
}

function complaint(file: string, { rule, line, column }: Ignore): Finding {
  const { id, why, mend } = badIgnore
  const known = rules.some((other) => other.id === rule)
  const message = known ? `${rule} is silenced without a reason` : `there is no rule ${JSON.stringify(rule)}`
  return { rule: id, file, line, column, message, why, mend }
}

function inOrder(unsorted: readonly Finding[], files: readonly LintFile[]): Finding[] {
  const order = new Map(files.map(({ name }, at) => [name, at]))
  return unsorted.toSorted(
    (one, other) =>
      (order.get(one.file) ?? 0) - (order.get(other.file) ?? 0) ||
      one.line - other.line ||
      one.column - other.column ||
      one.rule.localeCompare(other.rule),
  )
}

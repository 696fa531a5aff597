import { exitCodes } from '../core/exit-codes.ts'
import type { Options } from './arguments.ts'
import { wrap } from './wrap.ts'

/** A rule as it is listed. */
export interface ListedRule {
  id: string
  title: string
  why: string
  mend: string
}

/** A trap in a file; lines and columns count from 1. */
export interface LintFinding {
  rule: string
  file: string
  line: number
  column: number
  /** What stands or is missing there. */
  message: string
  why: string
  mend: string
}

/** Why a file was not looked at, or not wholly. */
export interface LintProblem {
  file: string
  line?: number
  column?: number
  message: string
}

/** What was found in how many files. */
export interface LintReport {
  files: number
  findings: readonly LintFinding[]
  problems: readonly LintProblem[]
}

/** What the command needs of its surroundings. */
export interface LintCommandParts {
  rules: readonly ListedRule[]
  lint: (names: readonly string[]) => Promise<LintReport>
  answer: (text: string) => void
  complain: (text: string) => void
}

/**
 * `gatepost lint FILES…`: the traps in Envoy's, Istio's and Kubernetes' files that validation passes in silence.
 * @returns the exit code: 1 where there is a finding, or a file that cannot be read or parsed; 64 without any file.
 */
export async function lintCommand(
  operands: readonly string[],
  options: Options,
  { rules, lint, answer, complain }: LintCommandParts,
): Promise<number> {
  if (options['rules']) {
    answer(options['json'] ? `${JSON.stringify(rules, null, 2)}\n` : rules.map(showRule).join(''))
    return exitCodes.ok
  }
  if (operands.length === 0) {
    complain('lint wants FILES, folders, or - for standard input. Try gatepost lint --help\n')
    return exitCodes.usage
  }
  const report = await lint(operands)
  if (options['json']) answer(`${JSON.stringify(report, null, 2)}\n`)
  else {
    answer(showFindings(report))
    complain(report.problems.map(showProblem).join(''))
  }
  return report.findings.length + report.problems.length === 0 ? exitCodes.ok : exitCodes.failed
}

function showRule({ id, title }: ListedRule): string {
  return `${id.padEnd(24)} ${title}\n`
}

function showProblem({ file, line, column, message }: LintProblem): string {
  return line === undefined ? `${file} ${message}\n` : `${file}:${line}:${column}: ${message}\n`
}

/** Grouped by file; why and mend stand below the first finding of each rule. */
function showFindings({ files, findings, problems }: LintReport): string {
  const told = new Set<string>()
  const groups = Map.groupBy(findings, ({ file }) => file)
  const shown = [...groups].map(
    ([file, ofFile]) => `${file}\n${ofFile.map((one) => showFinding(one, told)).join('')}\n`,
  )
  return `${shown.join('')}${summary(files, findings.length, problems.length)}\n`
}

function showFinding({ line, column, rule, message, why, mend }: LintFinding, told: Set<string>): string {
  const head = `  ${`${line}:${column}`.padEnd(8)} ${rule}: ${message}\n`
  if (told.has(rule)) return head
  told.add(rule)
  return `${head}${indented('why ', why)}${indented('mend', mend)}`
}

const margin = ' '.repeat(11)

function indented(title: string, text: string): string {
  return `${margin}${title}  ${wrap(text, 100).join(`\n${margin}      `)}\n`
}

function summary(files: number, findings: number, problems: number): string {
  const unread = problems === 0 ? '' : `, ${count(problems, 'problem')}`
  return `${count(files, 'file')}: ${findings === 0 ? 'nothing found' : count(findings, 'finding')}${unread}`
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

import { stripVTControlCharacters, styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

/** Styles text for stdout: colour only on a terminal, and none where NO_COLOR is set. */
export function paint(format: Format, text: string): string {
  return styleText(format, text, { stream: process.stdout })
}

/** The mark in front of a line. */
export function mark(good: boolean): string {
  return good ? paint('green', '✓') : paint('red', '✗')
}

/** Fills a cell with spaces up to `width` visible columns; a longer text stays whole. */
export function cell(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - stripVTControlCharacters(text).length))
}

/** Prints a line to stdout. */
export function print(line = ''): void {
  process.stdout.write(`${line}\n`)
}

/** The heading of a section. */
export function heading(title: string): string {
  return `\n${paint('bold', title)}`
}

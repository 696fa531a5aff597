/** What stands in each marked section of a page, by the name that its marker gives. */
export type Sections = Readonly<Record<string, () => string>>

const section = /<!-- generated: (\w+) -->\n.*?<!-- end -->/gs

/**
 * Fills the marked sections of a page; what stands between them stays.
 * @throws Error where the page has a section that nothing fills, or lacks one.
 */
export function fillSections(page: string, sections: Sections): string {
  const found = new Set<string>()
  const filled = page.replace(section, (_text, name: string) => {
    const write = sections[name]
    if (!write)
      throw new Error(`Cannot fill the section "${name}": known are ${Object.keys(sections).join(', ')}`)
    found.add(name)
    return `<!-- generated: ${name} -->\n${write()}\n<!-- end -->`
  })
  const missing = Object.keys(sections).filter((name) => !found.has(name))
  if (missing.length === 0) return filled
  throw new Error(`Cannot find the section ${missing.join(', ')}: <!-- generated: NAME --> … <!-- end -->`)
}

/** Text as code, in Markdown. */
export function code(text: string): string {
  return `\`${text}\``
}

/** A table, in Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}

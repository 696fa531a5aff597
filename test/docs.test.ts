import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'

const root = fileURLToPath(new URL('..', import.meta.url))
const pages = globSync('{docs,examples}/**/*.md', { cwd: root }).sort()

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

/** The anchors of a page as GitHub makes them of its headings. */
function anchorsOf(file: string): string[] {
  const headings = [...read(file).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading ?? '')
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

test('there are pages to look at', () => {
  expect(pages.length).toBeGreaterThan(10)
})

test.each(['README.md', ...pages])('every page and heading that %s links to is there', (file) => {
  const links = [...read(file).matchAll(/\]\((?!https?:)([^)\s#]*)(?:#([^)\s]*))?\)/g)]

  const dead = links.filter(([, path = '', anchor]) => {
    const target = path === '' ? file : join(dirname(file), path)
    if (!existsSync(join(root, target))) return true
    return anchor !== undefined && !anchorsOf(target).includes(anchor)
  })

  expect(dead.map(([link]) => link)).toEqual([])
})

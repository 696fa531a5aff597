import { Parser } from '@asyncapi/parser'

/** What one may not mend: a newer AsyncAPI exists, and fewer tools can read it. */
const accepted = 'asyncapi-latest-version'

/**
 * Holds a document against AsyncAPI's own rules.
 * @returns everything that its parser objects to, warnings and hints included.
 */
export async function checkAsyncApi(text: string): Promise<string[]> {
  const { diagnostics } = await new Parser().parse(text)
  return diagnostics
    .filter(({ code }) => code !== accepted)
    .map(({ code, path, message }) => `${code} at ${path.join('.')}: ${message}`)
}

import { secretPrefix, type WebhookEndpoint } from '../core/webhooks.ts'

/** Shorter words are too common to be taken out, and too short to be secrets. */
const leastLength = 6

const mask = '***'

const inJson = (word: string) => JSON.stringify(word).slice(1, -1)

/** How receivers write what they repeat: as it is, in JSON, in JSON with escaped slashes, in a URL. */
const spellings: ReadonlyArray<(word: string) => string> = [
  (word) => word,
  inJson,
  (word) => inJson(word).replaceAll('/', '\\/'),
  encodeURIComponent,
]

/**
 * Takes an endpoint's secrets and the values of its headers out of an answer: some receivers repeat what they were sent.
 * So do those that break off in the middle of one.
 */
export function redact(
  answer: string,
  { secrets, headers }: Pick<WebhookEndpoint, 'secrets' | 'headers'>,
): string {
  const values = [...secrets.map(({ value }) => value()), ...Object.values(headers)]
  const words = values
    .flatMap((value) => [value, value.replace(secretPrefix, ''), ...value.split(/[\s,;]+/)])
    .flatMap((word) => spellings.map((spell) => spell(word)))
  const secretWords = [...new Set(words)].filter(({ length }) => length >= leastLength)
  secretWords.sort((a, b) => b.length - a.length)
  const masked = secretWords.reduce((text, word) => text.replaceAll(word, mask), answer)
  return withoutCutWord(masked, secretWords)
}

/** The end of what is kept may be the beginning of a secret. */
function withoutCutWord(text: string, words: readonly string[]): string {
  for (const word of words) {
    for (let length = word.length - 1; length >= leastLength; length--) {
      if (text.endsWith(word.slice(0, length))) return `${text.slice(0, -length)}${mask}`
    }
  }
  return text
}

/** The most bytes of a path in an event. */
export const maxEventPathBytes = 2 * 1024

// Each of these characters takes one byte, in UTF-8 and in JSON.
const plain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/** Cuts a text to what takes at most so many bytes of JSON, quotes left out, never within a character. */
export function truncateJson(text: string, maxBytes: number): string {
  if (text.length <= maxBytes && plain.test(text)) return text
  let bytes = 0
  let end = 0
  for (const character of text) {
    bytes += jsonLength(character.codePointAt(0) ?? 0)
    if (bytes > maxBytes) return text.slice(0, end)
    end += character.length
  }
  return text
}

const shortEscapes = new Set([...'\b\t\n\f\r"\\'].map((character) => character.charCodeAt(0)))

function jsonLength(codePoint: number): number {
  if (shortEscapes.has(codePoint)) return 2
  // Control characters, and halves of a character: \u0001, \ud83d.
  if (codePoint < 0x20 || (codePoint >= 0xd800 && codePoint <= 0xdfff)) return 6
  if (codePoint < 0x80) return 1
  if (codePoint < 0x800) return 2
  return codePoint < 0x10000 ? 3 : 4
}

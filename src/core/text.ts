/** The most bytes of a path in an event. */
export const maxEventPathBytes = 2 * 1024

/** Cuts a text to at most so many bytes of UTF-8, never within a character. */
export function truncateUtf8(text: string, maxBytes: number): string {
  // A code unit takes at most three bytes.
  if (text.length * 3 <= maxBytes) return text
  let bytes = 0
  let end = 0
  for (const character of text) {
    bytes += utf8Length(character.codePointAt(0) ?? 0)
    if (bytes > maxBytes) return text.slice(0, end)
    end += character.length
  }
  return text
}

function utf8Length(codePoint: number): number {
  if (codePoint < 0x80) return 1
  if (codePoint < 0x800) return 2
  return codePoint < 0x10000 ? 3 : 4
}

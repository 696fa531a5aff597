import type { KeyPart } from './limits.ts'

const plainKinds = ['client', 'user', 'ip', 'route'] as const

/** What a limit counts by, to complete the sentence "it must be …". */
export const keyPartsForm = `${plainKinds.join(', ')}, header:NAME or claim:NAME, several joined by +`

/**
 * Reads what a limit counts by.
 * @returns undefined where the text is not of {@link keyPartsForm}.
 */
export function parseKeyParts(text: string): readonly KeyPart[] | undefined {
  const parts = text.split('+').map((part) => parseKeyPart(part.trim()))
  return parts.every((part) => part !== undefined) ? parts : undefined
}

function parseKeyPart(text: string): KeyPart | undefined {
  const plain = plainKinds.find((kind) => kind === text)
  if (plain) return { kind: plain }
  const [, kind, name] = /^(header|claim):(\S{1,256})$/.exec(text) ?? []
  if (!name) return undefined
  return kind === 'header' ? { kind: 'header', name: name.toLowerCase() } : { kind: 'claim', name }
}

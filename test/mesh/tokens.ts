type Json = Record<string, unknown>

/** The id of the key that a JWT names. */
export function keyIdOf(token: string): unknown {
  return headerOf(token)['kid']
}

/** A JWT with other members in its header, which its signature does not cover. */
export function withHeader(token: string, members: Json): string {
  const [, ...rest] = token.split('.')
  return [encode({ ...headerOf(token), ...members }), ...rest].join('.')
}

/** A JWT with other claims, which its signature does not cover. */
export function withClaims(token: string, claims: Json): string {
  const [header = '', payload = '', signature = ''] = token.split('.')
  return [header, encode({ ...decode(payload), ...claims }), signature].join('.')
}

function headerOf(token: string): Json {
  return decode(token.split('.')[0] ?? '')
}

function decode(part: string): Json {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Json
}

function encode(part: Json): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

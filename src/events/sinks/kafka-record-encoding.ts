/** What becomes one record of a batch. */
export interface PlainMessage {
  key: string
  value: Buffer
  headers: Readonly<Record<string, string>>
}

/**
 * Encodes a record of Kafka's batches of version 2 into a buffer of its exact size. Its timestamp is its batch's.
 * @param offset where it stands in its batch, from 0.
 */
export function encodeRecord({ key, value, headers }: PlainMessage, offset: number): Buffer {
  const texts = Object.entries(headers).flat()
  const keyBytes = Buffer.byteLength(key)
  const textBytes = texts.map((text) => Buffer.byteLength(text))
  let bodyBytes = attributesBytes + timestampDeltaBytes + varintBytes(offset)
  bodyBytes += varintBytes(keyBytes) + keyBytes
  bodyBytes += varintBytes(value.length) + value.length
  bodyBytes += varintBytes(texts.length / 2)
  for (const bytes of textBytes) bodyBytes += varintBytes(bytes) + bytes

  const buffer = Buffer.allocUnsafe(varintBytes(bodyBytes) + bodyBytes)
  let at = writeVarint(buffer, 0, bodyBytes)
  // No attribute is in use yet, and no record is later than its batch.
  buffer.fill(0, at, at + attributesBytes + timestampDeltaBytes)
  at = writeVarint(buffer, at + attributesBytes + timestampDeltaBytes, offset)
  at = writeVarint(buffer, at, keyBytes)
  at += buffer.write(key, at)
  at = writeVarint(buffer, at, value.length)
  at += value.copy(buffer, at)
  at = writeVarint(buffer, at, texts.length / 2)
  for (const [index, text] of texts.entries()) {
    at = writeVarint(buffer, at, textBytes[index] ?? 0)
    at += buffer.write(text, at)
  }
  return buffer
}

const attributesBytes = 1
const timestampDeltaBytes = 1

/** Kafka's varints are zigzag, so that small negative numbers are short: a number that is not negative is doubled. */
const zigzag = (value: number): number => value * 2

const bitsInByte = 7
const moreFollow = 0x80

/** How many bytes a number from 0 to 2³⁰ takes. */
function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = zigzag(value); rest >= moreFollow; rest >>>= bitsInByte) bytes += 1
  return bytes
}

/** @returns where it ends. */
function writeVarint(buffer: Buffer, start: number, value: number): number {
  let at = start
  let rest = zigzag(value)
  for (; rest >= moreFollow; rest >>>= bitsInByte) {
    buffer[at] = (rest & (moreFollow - 1)) | moreFollow
    at += 1
  }
  buffer[at] = rest
  return at + 1
}

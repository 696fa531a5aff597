import { createPrivateKey } from 'node:crypto'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { followTlsFiles, type TlsCredentials, type TlsFiles } from '../../src/envoy/credentials.ts'
import { createAuthority } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines, type LogLines } from '../support/log-lines.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

const hourMs = 3_600_000
const lookMs = 2_000

const servers = createAuthority('servers')
const clients = createAuthority('clients')
const one = { ...servers.issue('one'), ca: clients.cert }
const two = { ...servers.issue('two'), ca: createAuthority('clients').cert }
const expired = { ...servers.issue('old', { validTo: new Date(Date.now() - hourMs / 2) }), ca: clients.cert }

type FileSet = typeof one

let folder: TempFolder
let files: TlsFiles
let clock: FakeClock
let log: LogLines
let adopted: TlsCredentials[]
beforeEach(async () => {
  folder = await tempFolder('tls')
  files = {
    certFile: join(folder.path, 'tls.crt'),
    keyFile: join(folder.path, 'tls.key'),
    clientCaFile: join(folder.path, 'ca.crt'),
  }
  clock = new FakeClock(Date.now())
  log = createLogLines()
  adopted = []
})
afterEach(() => folder.remove())

/** Puts a set in place, file by file. */
function put({ cert, key, ca }: FileSet): void {
  replace(files.certFile, cert)
  replace(files.keyFile, key)
  replace(files.clientCaFile, ca)
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

function followFiles() {
  return followTlsFiles(files, { clock, logger: log.logger }, (credentials) => adopted.push(credentials))
}

/** Lets the follower look at the files so often. */
async function looks(count: number): Promise<void> {
  await clock.advance(count * lookMs)
}

function certOf(index: number): unknown {
  return adopted[index]?.context.cert
}

function warnings(): string[] {
  return log.lines
    .filter(({ level }) => level === 'warn')
    .map(({ message, fields }) => `${message}: ${fields['problem']}`)
}

describe('at the start', () => {
  test('the set is read', () => {
    put(one)

    expect(followFiles().first.context).toMatchObject({ cert: one.cert, key: one.key, ca: [one.ca] })
    expect(log.lines).toEqual([])
  })

  test('chains and bundles are read whole, whatever stands between their certificates', () => {
    put({ ...one, cert: `${one.cert}${servers.cert}`, ca: `# first\n${one.ca}\n# second\n${two.ca}` })

    const { context } = followFiles().first

    expect(context).toMatchObject({ cert: `${one.cert}${servers.cert}`, ca: [one.ca, two.ca] })
  })

  test('an expired certificate is a warning', () => {
    put(expired)

    followFiles()

    expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      expect.stringMatching(/^warn the certificate in use is valid only from \S+ to \S+$/),
    ])
  })

  test.each<[string, Partial<FileSet>, RegExp]>([
    ['a certificate that is none', { cert: 'hello' }, /CERT_FILE.*tls\.crt.*holds no PEM certificate$/],
    [
      'a certificate cut short',
      { cert: one.cert.slice(0, 200) },
      /CERT_FILE.*certificate that is cut short$/,
    ],
    ['a certificate of noise', { cert: one.cert.replace('MII', 'XXX') }, /CERT_FILE.*that cannot be read$/],
    ['a key that is none', { key: one.cert }, /KEY_FILE.*tls\.key.*holds no PEM private key$/],
    ['a key cut short', { key: one.key.slice(0, 100) }, /KEY_FILE.*private key that cannot be read/],
    ['the key of another certificate', { key: two.key }, /KEY_FILE.*not the key of the certificate$/],
    ['authorities that are none', { ca: '' }, /CLIENT_CA_FILE.*ca\.crt.*holds no PEM certificate$/],
    ['authorities cut short', { ca: one.ca + two.ca.slice(0, 200) }, /CLIENT_CA_FILE.*that is cut short$/],
  ])('%s keeps Gatepost from starting', (_case, fault, message) => {
    put({ ...one, ...fault })

    expect(followFiles).toThrow(message)
  })

  test('an encrypted key keeps Gatepost from starting', () => {
    const key = createPrivateKey(one.key).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'secret',
    })
    put({ ...one, key: key.toString() })

    expect(followFiles).toThrow(/KEY_FILE.*its private key is encrypted/)
  })

  test('all bad files are told at once', () => {
    put({ ...one, key: 'hello' })
    rmSync(files.certFile)
    rmSync(files.clientCaFile)
    mkdirSync(files.clientCaFile)

    expect(followFiles).toThrow(
      [
        `GATEPOST_GRPC_TLS_CERT_FILE: cannot use "${files.certFile}": there is no such file`,
        `GATEPOST_GRPC_TLS_KEY_FILE: cannot use "${files.keyFile}": it holds no PEM private key`,
        `GATEPOST_GRPC_TLS_CLIENT_CA_FILE: cannot use "${files.clientCaFile}": it is a folder`,
      ].join('\n'),
    )
  })
})

describe('a new set', () => {
  test('is adopted once two looks have found the same', async () => {
    put(one)
    followFiles()
    put(two)

    await looks(1)
    expect(adopted).toHaveLength(0)
    await looks(1)
    expect(adopted.map(({ context }) => context)).toMatchObject([
      { cert: two.cert, key: two.key, ca: [two.ca] },
    ])
    await looks(5)
    expect(adopted).toHaveLength(1)
    expect(warnings()).toEqual([])
  })

  test('is not taken up while it is being written', async () => {
    put(one)
    followFiles()

    replace(files.certFile, two.cert)
    await looks(1)
    replace(files.keyFile, two.key)
    await looks(1)
    expect(adopted).toHaveLength(0)
    await looks(1)

    expect(certOf(0)).toBe(two.cert)
    expect(warnings()).toEqual([])
  })

  test('is found behind the link that Kubernetes swaps', async () => {
    const release = (name: string, { cert, key, ca }: FileSet) => {
      const path = join(folder.path, name)
      mkdirSync(path)
      writeFileSync(join(path, 'tls.crt'), cert)
      writeFileSync(join(path, 'tls.key'), key)
      writeFileSync(join(path, 'ca.crt'), ca)
      symlinkSync(name, join(folder.path, '..data_tmp'))
      renameSync(join(folder.path, '..data_tmp'), join(folder.path, '..data'))
    }
    for (const name of ['tls.crt', 'tls.key', 'ca.crt'])
      symlinkSync(join('..data', name), join(folder.path, name))
    release('..1', one)
    followFiles()

    release('..2', two)
    await looks(2)

    expect(certOf(0)).toBe(two.cert)
  })

  test('is adopted where the authorities alone are new', async () => {
    put(one)
    followFiles()
    replace(files.clientCaFile, two.ca)

    await looks(2)

    expect(adopted.map(({ context }) => context)).toMatchObject([{ cert: one.cert, ca: [two.ca] }])
  })

  test('that says the same as the old is none', async () => {
    put(one)
    followFiles()
    put(one)

    await looks(3)

    expect(adopted).toHaveLength(0)
    expect(log.lines).toEqual([])
  })

  test('after the end is not looked at', async () => {
    put(one)
    followFiles().close()
    put(two)

    await looks(3)

    expect(adopted).toHaveLength(0)
    expect(clock.pending).toEqual([])
  })
})

describe('a bad new set', () => {
  test.each<[string, () => void, string]>([
    ['with the wrong key', () => replace(files.keyFile, two.key), 'it is not the key of the certificate'],
    ['cut short', () => replace(files.certFile, two.cert.slice(0, 300)), 'certificate that is cut short'],
    ['with a file missing', () => rmSync(files.clientCaFile), 'there is no such file'],
    ['that has expired already', () => put(expired), 'the old one is good'],
  ])('%s is told once, and the old stays', async (_case, spoil, problem) => {
    put(one)
    followFiles()
    spoil()

    await looks(5)

    expect(adopted).toHaveLength(0)
    expect(warnings()).toEqual([expect.stringContaining('new TLS files are no good, the old ones stay: ')])
    expect(warnings()).toEqual([expect.stringContaining(problem)])
  })

  test('is told again once it is another one', async () => {
    put(one)
    followFiles()
    replace(files.keyFile, two.key)
    await looks(3)

    replace(files.keyFile, 'hello')
    await looks(3)

    expect(warnings()).toHaveLength(2)
  })

  test('that is made good is adopted', async () => {
    put(one)
    followFiles()
    replace(files.certFile, two.cert)
    await looks(3)

    replace(files.keyFile, two.key)
    await looks(2)

    expect(certOf(0)).toBe(two.cert)
    expect(warnings()).toHaveLength(1)
  })

  test('that the old replaces again changes nothing', async () => {
    put(one)
    followFiles()
    replace(files.keyFile, two.key)
    await looks(3)

    replace(files.keyFile, one.key)
    await looks(3)

    expect(adopted).toHaveLength(0)
    expect(warnings()).toHaveLength(1)
  })
})

describe('the certificate in use', () => {
  test('is told once when it has expired', async () => {
    const cert = { ...servers.issue('short', { validTo: new Date(clock.now() + hourMs) }), ca: clients.cert }
    put(cert)
    followFiles()

    await clock.advance(hourMs - lookMs)
    expect(log.lines).toEqual([])
    await looks(5)

    expect(log.lines.map(({ message }) => message)).toEqual([expect.stringContaining('valid only from')])
  })

  test('gives way to an expired one once it has expired itself', async () => {
    put(expired)
    followFiles()
    const other = servers.issue('older', { validTo: new Date(Date.now() - hourMs / 2) })
    put({ ...other, ca: clients.cert })

    await looks(2)

    expect(certOf(0)).toBe(other.cert)
  })
})

import { execFileSync } from 'node:child_process'
import { globSync, mkdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loaderOptions, protoDir, protoFiles } from '../src/envoy/protos.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const proto = relative(root, protoDir)

const flags = [
  '--grpcLib=@grpc/grpc-js',
  '--importFileExtension=.ts',
  '--targetFileExtension=.ts',
  `--keepCase=${loaderOptions.keepCase}`,
  `--longs=${loaderOptions.longs.name}`,
  `--enums=${loaderOptions.enums.name}`,
  `--defaults=${loaderOptions.defaults}`,
  `--oneofs=${loaderOptions.oneofs}`,
  `--includeDirs=${proto}`,
]

/**
 * Empties `outDir` and fills it with the TypeScript types of `proto/`.
 * @returns the files written, relative to `outDir`, sorted.
 */
export function generate(outDir: string): string[] {
  rmSync(outDir, { recursive: true, force: true })
  mkdirSync(outDir, { recursive: true })
  execFileSync(process.execPath, [generator(), ...flags, `--outDir=${outDir}`, ...protoFiles], {
    cwd: root,
    stdio: 'inherit',
  })
  return globSync('**/*.ts', { cwd: outDir }).sort()
}

function generator(): string {
  const loader = createRequire(import.meta.url).resolve('@grpc/proto-loader/package.json')
  return join(dirname(loader), 'build/bin/proto-loader-gen-types.js')
}

if (import.meta.main) {
  const outDir = join(root, 'src/envoy/gen')
  const files = generate(outDir)
  for (const file of files) process.stdout.write(`${relative(root, join(outDir, file))}\n`)
  process.stdout.write(`${files.length} files written\n`)
}

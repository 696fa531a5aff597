import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'))

// Emptied first: a module that no longer exists must not travel in the package.
rmSync(join(root, 'dist'), { recursive: true, force: true })

const { status } = spawnSync(
  process.execPath,
  [join(typescript, 'bin/tsc'), '--project', 'tsconfig.build.json', '--noEmitOnError'],
  { cwd: root, stdio: 'inherit' },
)
process.exitCode = status ?? 1

import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { RunningProcess, run } from './process.ts'

const support = fileURLToPath(new URL('./process.ts', import.meta.url))

function node(script: string): RunningProcess {
  return new RunningProcess({ name: 'script', command: process.execPath, args: ['-e', script] })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('finds a line already printed and one still to come', async () => {
  await using child = node(`console.log('first'); setInterval(() => console.error('again'), 20)`)

  await child.line((line) => line === 'again')

  await expect(child.line((line) => line === 'first')).resolves.toBe('first')
})

test('says how a process ended, with its last lines, when it ends before it is ready', async () => {
  await using child = node(`console.error('no such file'); process.exitCode = 3`)

  const waiting = child.line((line) => line === 'ready')

  await expect(waiting).rejects.toThrow('Cannot use script: exit code 3\nno such file')
})

test('ends a process that ignores being asked when its limit passes', async () => {
  const script = `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`

  const running = run({ name: 'deaf', command: process.execPath, args: ['-e', script], limitMs: 500 })

  await expect(running).rejects.toThrow('Cannot run deaf: ended by SIGKILL')
})

test('names a command that cannot be started', async () => {
  const running = run({ name: 'nothing', command: 'no-such-command', args: [] })

  await expect(running).rejects.toThrow('cannot start no-such-command')
})

test('leaves no orphan when the parent is killed', async () => {
  const parentScript = `
    import { RunningProcess } from ${JSON.stringify(support)}
    const child = new RunningProcess({ name: 'sleep', command: 'sleep', args: ['60'] })
    console.log('child ' + child.pid)`
  await using parent = new RunningProcess({
    name: 'parent',
    command: process.execPath,
    args: ['--input-type=module-typescript', '-e', parentScript],
  })
  const line = await parent.line((text) => text.startsWith('child '))
  const pid = Number(line.slice('child '.length))
  expect(isAlive(pid)).toBe(true)

  process.kill(parent.pid, 'SIGKILL')

  await expect(gone(pid)).resolves.toBe(true)
})

async function gone(pid: number): Promise<boolean> {
  for (let attempt = 0; attempt < 200 && isAlive(pid); attempt += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return !isAlive(pid)
}

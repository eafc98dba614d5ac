import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { isAlive } from '../../src/local/postmaster.ts'
import { eventually } from '../support/eventually.ts'
import { type CapturedProcess, startProcess } from '../support/processes.ts'

const MODULE = path.resolve(import.meta.dirname, '../../src/local/tethered-process.ts')

test('a tethered process ends when its parent is killed', async () => {
  const parent = startParent(`['-c', 'trap "exit 0" INT; while :; do sleep 0.1; done']`)
  const [, pid] = await parent.waitForOutput(/child (\d+)/)

  parent.kill('SIGKILL')

  await eventually(() => expect(isAlive(Number(pid))).toBe(false))
})

test('a tethered process that ignores its signal is killed', async () => {
  const parent = startParent(`['-c', 'trap "" INT; while :; do sleep 0.1; done']`)
  const [, pid] = await parent.waitForOutput(/child (\d+)/)

  parent.kill('SIGKILL')

  await eventually(() => expect(isAlive(Number(pid))).toBe(false))
})

test('a tethered process does not keep its tether when it ends first', async () => {
  const parent = startParent(`['-c', 'exit 0']`)
  const [, pid] = await parent.waitForOutput(/child (\d+)/)

  await parent.waitForOutput(/ended/)

  await eventually(() => expect(commandLines()).not.toContain(`tether ${pid} INT`))
})

/** Of every process on this machine. */
function commandLines(): string {
  const files = globSync('/proc/[0-9]*/cmdline')
  return files.map(readCommandLine).join('\n')
}

function readCommandLine(file: string): string {
  try {
    return readFileSync(file, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

function startParent(args: string): CapturedProcess {
  const script = `
    import { spawnTethered } from '${MODULE}'
    const child = spawnTethered('/bin/sh', ${args}, { endSignal: 'INT', graceSeconds: 1 })
    child.on('exit', () => console.log('ended'))
    console.log('child ' + child.pid)
    setInterval(() => {}, 1e6)`
  return startProcess(process.execPath, ['--input-type=module', '-e', script])
}

import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { findFreePort, PROJECT, startProcess } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const BIN = path.join(PROJECT, 'bin/wa-ingest.js')

/** Makes the Node that runs the tests pass for an older one. */
const AS_NODE_20 = [
  '--import',
  'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.19.0"}})',
]

test('runs the command on a Node that runs TypeScript', async () => {
  const command = startProcess(process.execPath, [BIN, '--help'])

  expect(await command.ended).toEqual({ code: 0, signal: null })
  expect(command.stdout).toContain('Usage: npx wa-ingest <command>')
})

test('hands over to the Node installed with the project on an older one, exit code included', async () => {
  const help = startProcess(process.execPath, [...AS_NODE_20, BIN, '--help'])
  const mistake = startProcess(process.execPath, [...AS_NODE_20, BIN, 'strat'])

  expect(await help.ended).toEqual({ code: 0, signal: null })
  expect(help.stdout).toContain('Usage: npx wa-ingest <command>')
  expect(await mistake.ended).toEqual({ code: 2, signal: null })
})

test.each([
  ['a Node that runs TypeScript', []],
  ['an older Node', AS_NODE_20],
])('the debugger reaches the command when %s starts it', async (_name, flags) => {
  const port = await findFreePort()
  const args = [...flags, `--inspect=127.0.0.1:${port}`, BIN, '--help']
  const command = startProcess(process.execPath, args)

  expect(await command.ended).toEqual({ code: 0, signal: null })
  expect(command.stderr).not.toContain('address already in use')
  expect(command.stderr.match(/Debugger listening on/g)).toHaveLength(2)
})

test('passes signals on to that Node', async () => {
  const project = createProject()
  mkdirSync(path.join(project, 'src/cli'), { recursive: true })
  writeFileSync(
    path.join(project, 'src/cli/main.ts'),
    `process.once('SIGTERM', () => { console.log('told to stop'); process.exit(3) })
     console.log('running'); setInterval(() => {}, 1e6)`,
  )
  const installed = path.join(project, `node_modules/node-${process.platform}-${process.arch}/bin`)
  mkdirSync(installed, { recursive: true })
  symlinkSync(process.execPath, path.join(installed, 'node'))
  const command = startProcess(process.execPath, [...AS_NODE_20, path.join(project, 'bin/wa-ingest.js')])
  await command.waitForOutput(/running/)

  expect(await command.stop()).toEqual({ code: 3, signal: null })
  expect(command.stdout).toContain('told to stop')
})

test('says what to do where nothing is installed', async () => {
  const command = startProcess(process.execPath, [path.join(createProject(), 'bin/wa-ingest.js'), '--help'])

  expect(await command.ended).toEqual({ code: 1, signal: null })
  expect(command.stderr).toMatch(
    /^wa-ingest: its dependencies are not installed: run npm ci --ignore-scripts in .*\n$/,
  )
})

/** With this command and nothing else. */
function createProject(): string {
  const directory = createTempDirectory()
  cpSync(BIN, path.join(directory, 'bin/wa-ingest.js'))
  writeFileSync(path.join(directory, 'package.json'), '{ "type": "module" }')
  return directory
}

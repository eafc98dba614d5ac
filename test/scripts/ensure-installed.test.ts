/** The script runs in a project of the test's own, mostly with a stand-in for npm. */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { type CapturedProcess, PROJECT, pathWithoutOurNode, startProcess } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const LOCK = {
  packages: {
    '': { name: 'project' },
    'node_modules/needed': { version: '1.0.0', integrity: 'sha512-a' },
    'node_modules/for-tests': { version: '2.0.0', integrity: 'sha512-b', dev: true },
    'node_modules/for-another-platform': { version: '3.0.0', integrity: 'sha512-c', optional: true },
  },
}

/** Notes each call, then installs whatever NPM_INSTALLS says, as npm ci does: from nothing, the lock copied at the end. */
const NPM = `#!/bin/sh
echo "$@" >> "$CALLS"
[ -n "$NPM_FAILS" ] && { echo "npm error network" >&2; exit 1; }
rm -rf node_modules && mkdir -p node_modules/.bin && sleep 0.2
cp "$NPM_INSTALLS" node_modules/.package-lock.json
`

test('installs on a fresh clone, and says so in a line', async () => {
  const project = createProject()

  const script = run(project)

  expect(await script.ended).toEqual({ code: 0, signal: null })
  expect(script.stderr).toMatch(/the dependencies are not installed yet, running npm ci/)
  expect(project.calls()).toHaveLength(1)
})

test('under the real npm, npm start installs once, lets no package run a script, and runs on the Node that came with it', async () => {
  const directory = createTempDirectory()
  await writeProjectForNpm(directory)
  const env = { PATH: pathWithoutOurNode(), npm_config_cache: path.join(directory, 'cache') }
  const start = () => startProcess('npm', ['start'], { cwd: directory, env })

  const first = start()
  expect(await first.ended, first.output).toEqual({ code: 0, signal: null })
  expect(first.stdout).toContain('v24.0.0')
  expect(first.stderr).toMatch(/not installed yet, running npm ci.*wa-ingest: installed in \d+ s/s)
  expect(existsSync(path.join(directory, 'package-ran'))).toBe(false)

  const second = start()
  expect(await second.ended, second.output).toEqual({ code: 0, signal: null })
  expect(second.stderr).not.toContain('npm ci')
})

test('lets no package run a script of its own while it is installed', async () => {
  const project = createProject()

  await run(project).ended

  expect(project.calls()).toEqual([expect.stringMatching(/^ci --ignore-scripts /)])
})

test('does and says nothing when what is installed matches the lock', async () => {
  const project = createProject()
  await run(project).ended

  const script = run(project)

  expect(await script.ended).toEqual({ code: 0, signal: null })
  expect(script.output).toBe('')
  expect(project.calls()).toHaveLength(1)
})

test('installs again when the lock has moved on', async () => {
  const project = createProject()
  await run(project).ended
  const moved = structuredClone(LOCK)
  moved.packages['node_modules/needed'].version = '1.0.1'
  project.writeLock(moved)

  const script = run(project)

  expect(await script.ended).toEqual({ code: 0, signal: null })
  expect(script.stderr).toMatch(/do not match package-lock\.json, running npm ci/)
  expect(project.calls()).toHaveLength(2)
})

test('installs again after an install that was interrupted', async () => {
  const project = createProject()
  await run(project).ended
  rmSync(path.join(project.directory, 'node_modules/.package-lock.json'))

  await run(project).ended

  expect(project.calls()).toHaveLength(2)
})

test('asks for development dependencies only where they are needed', async () => {
  const project = createProject()
  const { 'node_modules/for-tests': _, ...production } = LOCK.packages
  writeFileSync(project.installs, JSON.stringify({ packages: production }))

  const start = run(project)
  expect(await start.ended).toEqual({ code: 0, signal: null })
  writeFileSync(project.installs, JSON.stringify(LOCK))
  const tests = run(project, ['--dev'])

  expect(await tests.ended).toEqual({ code: 0, signal: null })
  expect(project.calls()).toEqual([
    expect.not.stringContaining('--include=dev'),
    expect.stringContaining('--include=dev'),
  ])
})

test('passes on what npm says when it fails, with the next step and exit code 1', async () => {
  const project = createProject()

  const script = run(project, [], { NPM_FAILS: 'yes' })

  expect(await script.ended).toEqual({ code: 1, signal: null })
  expect(script.stderr).toMatch(/npm error network/)
  expect(script.stderr).toMatch(
    /npm ci failed \(exit code 1\).*check the network.*run the same command again/,
  )
})

test('installs once when two start at the same moment', async () => {
  const project = createProject()

  const scripts = [run(project), run(project)]

  for (const script of scripts) expect(await script.ended).toEqual({ code: 0, signal: null })
  expect(project.calls()).toHaveLength(1)
})

test('is not held up by an earlier one that was killed', async () => {
  const project = createProject()
  const killed = run(project)
  await eventually(() => expect(project.calls()).toHaveLength(1))
  killed.killGroup()
  await killed.ended

  const script = run(project)

  expect(await script.ended).toEqual({ code: 0, signal: null })
})

test('links the Node of this platform where npm did not', async () => {
  const project = createProject()
  await run(project).ended
  writeNode(project, '#!/bin/sh\necho v24.0.0\n')

  const script = run(project)

  expect(await script.ended).toEqual({ code: 0, signal: null })
  expect(readFileSync(path.join(project.directory, 'node_modules/.bin/node'), 'utf8')).toContain('v24.0.0')
})

test('unlinks a Node that does not run on this machine, so that the one on PATH is used', async () => {
  const project = createProject()
  await run(project).ended
  const link = path.join(project.directory, 'node_modules/.bin/node')
  symlinkSync(writeNode(project, '#!/bin/sh\nexit 127\n'), link)

  const script = run(project)

  expect(await script.ended).toEqual({ code: 0, signal: null })
  expect(existsSync(link)).toBe(false)
})

const NODE = `node-${process.platform}-${process.arch}`

/** Its one dependency is a package in a file, so that npm needs no registry. */
async function writeProjectForNpm(directory: string): Promise<void> {
  const dependency = path.join(directory, 'package')
  const write = (file: string, content: unknown) => writeFileSync(file, JSON.stringify(content))
  mkdirSync(path.join(dependency, 'bin'), { recursive: true })
  writeFileSync(path.join(dependency, 'bin/node'), '#!/bin/sh\necho v24.0.0\n', { mode: 0o755 })
  const bin = { 'other-command': 'bin/node' }
  const scripts = { install: 'touch "$INIT_CWD/package-ran"' }
  write(path.join(dependency, 'package.json'), { name: NODE, version: '24.0.0', bin, scripts })
  const archive = path.join(directory, 'node.tgz')
  await startProcess('tar', ['czf', archive, '-C', directory, 'package']).ended
  const integrity = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`

  const dependencies = { [NODE]: 'file:node.tgz' }
  const project = { name: 'project', version: '1.0.0', dependencies }
  const commands = { prestart: 'node scripts/ensure-installed.js', start: 'node --version' }
  write(path.join(directory, 'package.json'), { ...project, type: 'module', scripts: commands })
  const installed = { version: '24.0.0', resolved: 'file:node.tgz', integrity, bin, hasInstallScript: true }
  const packages = { '': project, [`node_modules/${NODE}`]: installed }
  write(path.join(directory, 'package-lock.json'), { ...project, lockfileVersion: 3, packages })
  copyScript(directory)
}

type Project = {
  directory: string
  /** The file with what the stand-in for npm installs. */
  installs: string
  env: Record<string, string>
  writeLock(lock: unknown): void
  /** The arguments of each call of npm. */
  calls(): string[]
}

function createProject(): Project {
  const directory = createTempDirectory()
  const commands = path.join(directory, 'commands')
  const installs = path.join(directory, 'installs.json')
  const calls = path.join(directory, 'calls')
  mkdirSync(commands)
  writeFileSync(path.join(commands, 'npm'), NPM)
  chmodSync(path.join(commands, 'npm'), 0o755)
  copyScript(directory)
  writeFileSync(path.join(directory, 'package.json'), '{ "type": "module" }')
  const writeLock = (lock: unknown) => {
    for (const file of [path.join(directory, 'package-lock.json'), installs])
      writeFileSync(file, JSON.stringify(lock))
  }
  writeLock(LOCK)
  return {
    directory,
    installs,
    env: { PATH: `${commands}:${process.env.PATH}`, CALLS: calls, NPM_INSTALLS: installs },
    writeLock,
    calls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []),
  }
}

function copyScript(directory: string): void {
  const script = 'scripts/ensure-installed.js'
  cpSync(path.join(PROJECT, script), path.join(directory, script))
}

function writeNode(project: Project, script: string): string {
  const node = path.join(project.directory, 'node_modules', NODE, 'bin/node')
  mkdirSync(path.dirname(node), { recursive: true })
  writeFileSync(node, script, { mode: 0o755 })
  return node
}

function run(project: Project, args: string[] = [], env: Record<string, string> = {}): CapturedProcess {
  const script = path.join(project.directory, 'scripts/ensure-installed.js')
  return startProcess(process.execPath, [script, ...args], { env: { ...project.env, ...env } })
}

import { spawn } from 'node:child_process'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { COMMANDS, main } from '../../src/cli/main.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { findFreePort, PROJECT, startCli, startProcess } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const MAIN = path.join(PROJECT, 'src/cli/main.ts')

describe('help', () => {
  test('lists every command with its summary', async () => {
    const { code, stdout } = await run(['--help'])

    for (const [name, { summary }] of Object.entries(COMMANDS)) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +${summary}$`, 'm'))
    }
    expect(code).toBe(0)
  })

  test.each(Object.entries(COMMANDS))(
    'of %s says the same of it and names every option',
    async (name, entry) => {
      const { command } = await entry.load()

      expect([command.name, command.summary]).toEqual([name, entry.summary])
      for (const option of [...Object.keys(command.options), 'help'])
        expect(command.usage).toContain(`--${option}`)
      expect(command.usage.split('\n').filter((line) => line.length > 120)).toEqual([])
    },
  )

  test.each(Object.keys(COMMANDS))('of %s is the same either way, and runs nothing', async (name) => {
    const asCommand = await run(['help', name])
    const asOption = await run([name, '--help'])

    expect(asCommand).toEqual(asOption)
    expect(asOption).toMatchObject({ code: 0, stderr: '' })
    expect(asOption.stdout).toContain(`wa-ingest ${name}`)
  })

  test('needs no package', async () => {
    const hook = `import { registerHooks } from 'node:module'
      registerHooks({ resolve(specifier, context, next) {
        const result = next(specifier, context)
        if (result.url.includes('/node_modules/')) console.log('loaded ' + specifier)
        return result
      } })`

    const child = startProcess(process.execPath, [
      '--import',
      `data:text/javascript,${encodeURIComponent(hook)}`,
      MAIN,
      '--help',
    ])
    await child.ended

    expect(child.stdout).toContain('Usage: npx wa-ingest')
    expect(child.stdout).not.toContain('loaded')
  })
})

describe('a command line that is wrong', () => {
  test.each([
    [['simulat'], 'unknown command "simulat"; did you mean wa-ingest simulate?'],
    [['qqqqqq'], 'unknown command "qqqqqq"\n'],
    [['constructor'], 'unknown command "constructor"\n'],
    [['help', 'simulat'], 'did you mean wa-ingest simulate?'],
    [['--versoin'], 'unknown option --versoin; did you mean --version?'],
    [['simulate', '--redelivries', '0.5'], 'unknown option --redelivries; did you mean --redeliveries?'],
    [['simulate', '-x'], 'unknown option -x\n'],
    [['simulate', 'extra'], 'unexpected argument "extra"'],
    [['simulate', '--messages'], '--messages'],
    [['simulate', '--json=yes'], '--json'],
  ])('%j is explained, with exit code 2', async (args, message) => {
    const { code, stdout, stderr } = await run(args)

    expect(stderr).toContain(message)
    expect(stderr.trimEnd().split('\n')).toHaveLength(2)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  test('without a command shows the help on stderr', async () => {
    const { code, stdout, stderr } = await run([])

    expect(stderr).toContain('Usage: npx wa-ingest <command>')
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })
})

describe('a command that fails', () => {
  test('reports its error in one line, with exit code 1', async () => {
    const { code, stdout, stderr } = await run(['simulate', '--secret', 'x'], FAILING)

    expect(stderr).toMatch(/^wa-ingest simulate: .+\n$/)
    expect(stdout).toBe('')
    expect(code).toBe(1)
  })

  test('shows the stack with LOG_LEVEL=debug', async () => {
    const { stderr } = await run(['simulate', '--secret', 'x'], { ...FAILING, LOG_LEVEL: 'debug' })

    expect(stderr).toMatch(/\n {4}at /)
  })
})

test('prints the version of package.json', async () => {
  const { default: manifest } = await import('../../package.json', { with: { type: 'json' } })

  expect(await run(['--version'])).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' })
})

test('survives a reader that closes its output early', async () => {
  const child = spawn(process.execPath, [MAIN, 'simulate', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const ended = new Promise((resolve) => child.on('close', resolve))

  expect(await text(child.stderr)).toBe('')
  expect(await ended).toBe(0)
})

test('runs as a process with the same exit codes', async () => {
  const child = startCli(['simulat'])

  expect(await child.ended).toEqual({ code: 2, signal: null })
  expect(child.stderr).toContain('did you mean wa-ingest simulate?')
})

test('stops in order when one Ctrl-C arrives twice, as under npm', async () => {
  const database = await createTestDatabase()
  const child = startCli(['start'], {
    env: { DATABASE_URL: database.url, DATA_DIR: createTempDirectory(), PORT: String(await findFreePort()) },
  })
  await child.waitForOutput(/wa-ingest is ready/)

  // Two of one kind at the same moment would arrive as one.
  child.kill('SIGINT')
  child.kill('SIGTERM')

  expect(await child.ended).toEqual({ code: 0, signal: null })
  expect(child.stderr).toContain('"msg":"stopped"')
})

/** A database that is not there. */
const FAILING = { DATABASE_URL: 'postgres://127.0.0.1:1/none' }

async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const code = await main(args, { env, stdout, stderr, signal: new AbortController().signal })
  stdout.end()
  stderr.end()
  return { code, stdout: await text(stdout), stderr: await text(stderr) }
}

/** The first steps of a new user: clone, `npm start`, paste the printed line, Ctrl-C, and start again. */
import { symlinkSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { serve } from '../support/http.ts'
import { findFreePort, PROJECT, pathWithoutOurNode, startProcess } from '../support/processes.ts'
import { createTempDirectory } from '../support/temp-directory.ts'

const MINUTE = 60_000
test('a fresh clone runs, stores the messages of the printed line, stops at Ctrl-C and keeps its data', {
  timeout: 3 * MINUTE,
}, async () => {
  const clone = path.join(createTempDirectory(), 'wa-ingest')
  expect((await startProcess('git', ['clone', '--quiet', PROJECT, clone]).ended).code).toBe(0)
  // What npm installs before it starts: test/scripts/ensure-installed.test.ts, with a smaller lock.
  symlinkSync(path.join(PROJECT, 'node_modules'), path.join(clone, 'node_modules'))
  const env = { PATH: pathWithoutOurNode(), PORT: String(await findFreePort()) }
  const start = () => startProcess('npm', ['start'], { cwd: clone, env })

  const first = start()
  await first.waitForOutput(/Ctrl-C stops it/, { timeoutMs: MINUTE })
  const [, password] = (await first.waitForOutput(/password\s+(\S+)/)) ?? []
  const [line = ''] = await first.waitForOutput(/npx wa-ingest simulate.*/)
  const [command = '', ...args] = line.replace('--messages 10000', '--messages 300').split(' ')
  const simulate = startProcess(command, args, { cwd: clone, env })

  expect((await simulate.ended).code, simulate.output).toBe(0)
  expect(simulate.output).toContain('everything acknowledged is stored exactly once')
  expect(await first.stop({ signal: 'SIGINT', timeoutMs: 5_000 })).toMatchObject({ signal: null })

  const second = start()
  await second.waitForOutput(/Ctrl-C stops it/, { timeoutMs: MINUTE })
  const response = await fetch(`http://127.0.0.1:${env.PORT}/api/stats`, {
    headers: { authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` },
  })
  const stats: unknown = await response.json()
  expect(stats).toMatchObject({ stored: 390 })
  await second.stop({ signal: 'SIGINT', timeoutMs: 5_000 })
})

test.each([
  [
    'a taken port',
    async () => ({ PORT: new URL(await takenPort()).port }),
    /port \d+ on 127\.0\.0\.1 is taken/,
  ],
  [
    'a DATABASE_URL where nothing listens',
    async () => ({ DATABASE_URL: 'postgres://a:b@127.0.0.1:1/c' }),
    /DATABASE_URL cannot be used: nothing listens/,
  ],
  ['wrong variables', async () => ({ PORT: 'high', LOG_LEVEL: 'loud' }), /PORT must be.*LOG_LEVEL must be/s],
])('%s ends the start with a clear line and exit code 1', async (_what, wrong, said) => {
  const env = { DATA_DIR: createTempDirectory(), PORT: String(await findFreePort()), ...(await wrong()) }
  const start = startProcess(process.execPath, [path.join(PROJECT, 'bin/wa-ingest.js'), 'start'], { env })

  expect(await start.ended).toEqual({ code: 1, signal: null })
  expect(start.stderr).toMatch(said)
  expect(start.stderr).not.toMatch(/\n\s+at /)
})

function takenPort(): Promise<string> {
  return serve((_req, res) => void res.end())
}

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { PassThrough, type Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { describeConfig } from '../../src/config/describe-config.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { createLogger, type Logger, type LoggerOptions } from '../../src/logger/logger.ts'
import { maskWaMessageId } from '../../src/logger/mask.ts'

const MODULE = pathToFileURL('src/logger/logger.ts').href
const WAMID = 'wamid.HBgLMTU1NTAwMDEyMzQVAgASGBQzQUVEMDAwMDAwMDAwMDAwMDAwMAA='

const EVERYTHING_SET = {
  NODE_ENV: 'production',
  TRUST_PROXY: 'loopback',
  PUBLIC_URL: 'https://wa.example.com',
  DATABASE_URL: 'postgres://db/wa',
  DATABASE_DIRECT_URL: 'postgres://db:5433/wa',
  REDIS_URL: 'redis://cache',
  META_APP_SECRET: 'meta-app-secret-0001',
  META_VERIFY_TOKEN: 'verify-token-0001',
  META_ACCESS_TOKEN: 'access-token-0001',
  META_PHONE_NUMBER_ID: '1000001',
  TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}`,
  TWILIO_AUTH_TOKEN: 'twilio-token-0001',
  TWILIO_FROM: '+15550001234',
  ADMIN_PASSWORD: 'correct horse battery',
}

describe('a log line', () => {
  test('is JSON with the level as a word, the time in ISO 8601 and the process', async () => {
    const [line] = await linesOf((log) => log.info({ queue: 'inbound', duration_ms: 12 }, 'batch written'))

    expect(line).toMatchObject({
      level: 'info',
      process: 'api',
      msg: 'batch written',
      queue: 'inbound',
      duration_ms: 12,
    })
    expect(new Date(String(line?.time)).toISOString()).toBe(line?.time)
  })

  test('is not written below the level', async () => {
    const lines = await linesOf((log) => log.debug('batch written'))

    expect(lines).toEqual([])
  })

  test('has no text under a name that is not listed, at any depth and in children', async () => {
    const lines = await linesOf((log) => {
      const child = log.child({ provider: 'meta', contact_name: 'hush' })
      child
        .child({ body: 'hush' })
        .info({ content: 'hush', payload: { text: { body: 'hush' }, n: 1 } }, 'seen')
      log.info({ phones: ['hush'], raw: Buffer.from('hush') }, 'seen')
    })

    expect(JSON.stringify(lines)).not.toContain('hush')
    expect(lines[0]).toMatchObject({ provider: 'meta', payload: { n: 1 }, content: '[not listed]' })
  })

  test('shows the whole description of the configuration', async () => {
    const description = describeConfig(loadConfig(EVERYTHING_SET))

    const [line] = await linesOf((log) => log.info(description, 'starting'))

    expect(line).toMatchObject(JSON.parse(JSON.stringify(description)))
  })

  test('has no phone number inside a wamid, unless the level is debug', async () => {
    const write = (log: Logger) =>
      log.info({ wa_message_id: WAMID, job_id: `status.read.${WAMID}.15550001234` }, 'seen')

    const [line] = await linesOf(write)
    const [debugLine] = await linesOf(write, { level: 'debug' })

    expect(line?.wa_message_id).toBe(maskWaMessageId(WAMID))
    expect(JSON.stringify(line)).not.toMatch(/HBgL|15550001234/)
    expect(debugLine?.wa_message_id).toBe(WAMID)
  })
})

describe('a logged error', () => {
  test('has its type, message, stack and causes', async () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), {
      code: 'ECONNREFUSED',
      address: '127.0.0.1',
      port: 5432,
    })

    const [line] = await linesOf((log) =>
      log.error({ err: new TypeError('no batch', { cause }) }, 'batch failed'),
    )

    expect(line?.err).toMatchObject({
      type: 'TypeError',
      message: 'no batch',
      stack: expect.stringMatching(/^ +at .*logger\.test\.ts/),
      cause: { code: 'ECONNREFUSED', port: 5432 },
    })
  })

  test('logged without a phrase does not become the phrase', async () => {
    const lines = await linesOf((log) => Reflect.apply(log.error, log, [new Error('bad value: "hush"')]))

    expect(lines[0]).toMatchObject({ msg: 'no message', err: { message: 'bad value: "…"' } })
  })

  test.each([
    ["PostgreSQL's detail, where, query and parameters", pgError()],
    ["PostgreSQL's quoted value", new Error('invalid input syntax for type integer: "hush\n hush"')],
    ["PostgreSQL's value in the middle", new Error('value "491511234hush" is out of range for type integer')],
    [
      'the command of Redis',
      Object.assign(new Error('OOM'), { command: { name: 'evalsha', args: ['hush'] } }),
    ],
    ['the text that JSON.parse could not read', jsonError('hush, hush')],
    ['what a cause holds', new Error('failed', { cause: pgError() })],
    ['what an aggregate holds', new AggregateError([pgError()], 'failed')],
  ])('leaves out %s', async (_, err) => {
    const lines = await linesOf((log) => log.error({ err }, 'failed'))

    expect(lines).toHaveLength(1)
    expect(JSON.stringify(lines)).not.toContain('hush')
  })

  test('shows no phone number, with or without quotes', async () => {
    const messages = ['value "4915112345678" is out of range for type integer', 'no contact 4915112345678']

    const lines = await linesOf((log) => {
      for (const message of messages) log.error({ err: new Error(message) }, 'failed')
    })

    expect(lines.map(({ err }) => err)).toMatchObject([
      { message: 'value "…" is out of range for type integer' },
      { message: 'no contact …' },
    ])
  })

  test('that is not an Error is still one line', async () => {
    const lines = await linesOf((log) => log.error({ err: `sent ${WAMID} twice` }, 'failed'))

    expect(lines[0]?.err).toEqual({ type: 'string', message: `sent ${maskWaMessageId(WAMID)} twice` })
  })

  test('with causes in a circle ends', async () => {
    const err = new Error('round')
    err.cause = err

    expect(await linesOf((log) => log.error({ err }, 'failed'))).toHaveLength(1)
  })
})

describe('at the end of the process', () => {
  test.each(['process.exit(0)', 'throw new Error("unexpected")', ''])(
    'every line is out after %j',
    async (ending) => {
      const program = `
      const { createLogger } = await import(${JSON.stringify(MODULE)})
      const log = createLogger({ level: 'info', process: 'api' })
      for (let n = 1; n <= 2000; n++) log.info({ n }, 'counted')
      ${ending}`

      const printed = await runProgram(program)

      expect(
        printed
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line).n),
      ).toEqual(Array.from({ length: 2000 }, (_, index) => index + 1))
    },
  )
})

async function linesOf(
  write: (log: Logger) => void,
  options: Partial<LoggerOptions> = {},
): Promise<Record<string, unknown>[]> {
  const stream = new PassThrough()
  write(createLogger({ level: 'info', process: 'api', stream, ...options }))
  stream.end()
  const printed = await text(stream)
  return printed
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

async function runProgram(program: string): Promise<string> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [printed] = await Promise.all([text(child.stdout as Readable), once(child, 'exit')])
  return printed
}

function pgError(): Error {
  return Object.assign(new Error('duplicate key value violates unique constraint "idx"'), {
    code: '23505',
    detail: 'Key (content)=(hush) already exists.',
    where: 'unnamed portal parameter $1 = hush',
    query: 'insert hush',
    parameters: ['hush'],
  })
}

function jsonError(content: string): unknown {
  try {
    return JSON.parse(content)
  } catch (err) {
    return err
  }
}

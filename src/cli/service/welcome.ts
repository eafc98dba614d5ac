import path from 'node:path'
import { webhookPath } from '../../api/webhook-listener.ts'
import type { Config } from '../../config/config-groups.ts'

const DEFAULT_PORT = 3000
const DEFAULT_DATA_DIR = path.resolve('.data')

/** The lines that `start` prints when the service is ready: its addresses, how to sign in, and how to see it work. */
export function welcome(config: Config, port = config.http.port, adminPort = port): string[] {
  const host = config.http.host.includes(':') ? `[${config.http.host}]` : config.http.host
  const url = `http://${host}:${port}`
  const isGenerated = config.generated.names.includes('ADMIN_PASSWORD')
  return [
    '',
    `wa-ingest is ready at ${url}`,
    '',
    `  dashboard   http://${host}:${adminPort}/`,
    `  queues      http://${host}:${adminPort}/queues`,
    `  user        ${config.admin.user}`,
    `  password    ${isGenerated ? config.admin.password : 'the one in ADMIN_PASSWORD'}`,
    `  webhooks    ${config.providers.map(({ name }) => url + webhookPath(name)).join('  ')}`,
    '',
    'See it work, in another terminal in this directory:',
    '',
    `  ${simulateLine(config, url, port)}`,
    '',
    'Ctrl-C stops it.',
    '',
  ]
}

function simulateLine(config: Config, url: string, port: number): string {
  const dataDir = config.dataDir === DEFAULT_DATA_DIR ? '' : `DATA_DIR=${shellWord(config.dataDir)} `
  const target = port === DEFAULT_PORT && config.http.host === '127.0.0.1' ? '' : ` --url ${url}`
  return `${dataDir}npx wa-ingest simulate --messages 10000 --redeliveries 0.3${target}`
}

function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

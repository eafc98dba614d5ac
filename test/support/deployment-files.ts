/** docker-compose.yml and Dockerfile as Docker reads them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

export type ComposeService = {
  image?: string
  build?: string
  command?: string[]
  user?: string
  environment?: Record<string, string>
  ports?: string[]
  volumes?: string[]
  networks?: string[]
  tmpfs?: string[]
  depends_on?: Record<string, { condition: string }>
  healthcheck?: { test?: string[]; disable?: boolean }
  restart?: string
  cpu_shares?: number
  [setting: string]: unknown
}

export const composeText = readFileSync('docker-compose.yml', 'utf8')
export const compose: {
  services: Record<string, ComposeService>
  networks: Record<string, { internal?: boolean } | null>
  volumes: Record<string, unknown>
} = parse(composeText, { merge: true })

const instructions = readDockerfile()

/** What a process of the service finds in its environment when `.env` says `env`. */
export function environmentOf(service: ComposeService, env: Record<string, string>): Record<string, string> {
  const given = Object.entries(service.environment ?? {}).map(([name, value]) => [
    name,
    interpolate(value, env),
  ])
  return { ...imageEnvironment(), ...Object.fromEntries(given) }
}

/** As Compose does it: `\${NAME:-default}` and `\${NAME:?message}`. */
export function interpolate(value: string, env: Record<string, string>): string {
  return String(value).replace(
    /\$\{([A-Z_]+)(?::([-?])([^}]*))?\}/g,
    (_, name: string, kind = '-', rest = '') => {
      if (env[name]) return env[name]
      if (kind === '?') throw new Error(`${name} ${rest}`)
      return rest
    },
  )
}

function readDockerfile(): [instruction: string, value: string][] {
  return readFileSync('Dockerfile', 'utf8')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [instruction = '', ...rest] = line.split(' ')
      return [instruction, rest.join(' ')]
    })
}

export function valuesOf(instruction: string): string[] {
  return instructions.filter(([name]) => name === instruction).map(([, value]) => value)
}

export function imageEnvironment(): Record<string, string> {
  return Object.fromEntries(
    valuesOf('ENV')
      .flatMap((value) => value.split(/\s+/))
      .map((pair) => pair.split('=')),
  )
}

/** The exit code of the health check that the image has. */
export async function runHealthCheck(env: Record<string, string>): Promise<number> {
  const [command = '', ...args]: string[] = JSON.parse(
    /CMD (\[.*\])/.exec(valuesOf('HEALTHCHECK')[0] ?? '')?.[1] ?? '[]',
  )
  if (command !== 'node') throw new Error(`the health check runs ${command}, and not node`)
  const [exitCode] = await once(spawn(process.execPath, args, { env, stdio: 'ignore' }), 'exit')
  return exitCode
}

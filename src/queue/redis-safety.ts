/**
 * Checks whether Redis keeps acknowledged data on disk. The receiver acknowledges a webhook once Redis has its events, so
 * under weaker settings an acknowledged message can be lost.
 */
import { Cluster, type Redis } from 'ioredis'
import { checkClock } from '../core/clock-skew.ts'
import type { SettingFinding } from '../core/setting-finding.ts'

type Rule = {
  /** Name for CONFIG GET. */
  name: string
  /** Section and field of INFO with the same value, for servers that refuse CONFIG (most managed ones). */
  info?: { section: string; field: string }
  isSafe(value: string): boolean
  expected: string
  advice: string
}

const RULES: readonly Rule[] = [
  {
    name: 'appendonly',
    info: { section: 'persistence', field: 'aof_enabled' },
    isSafe: (value) => value === 'yes' || value === '1',
    expected: 'yes',
    advice:
      'a restart of Redis loses acknowledged messages; CONFIG SET appendonly yes, and set it in redis.conf',
  },
  {
    name: 'appendfsync',
    isSafe: (value) => value === 'always',
    expected: 'always',
    advice:
      'a crash loses what was acknowledged in the last moment; CONFIG SET appendfsync always, and set it in redis.conf',
  },
  {
    // With `yes` even `appendfsync always` waits for no disk while Redis rewrites its file.
    name: 'no-appendfsync-on-rewrite',
    isSafe: (value) => value === 'no',
    expected: 'no',
    advice:
      'while Redis rewrites its file, a crash loses what it acknowledged; CONFIG SET no-appendfsync-on-rewrite no, and set it in redis.conf',
  },
  {
    name: 'maxmemory',
    info: { section: 'memory', field: 'maxmemory' },
    isSafe: (value) => Number(value) > 0,
    expected: 'a limit below the memory of the machine',
    advice: 'the receiver cannot tell when Redis is nearly full and turn to PostgreSQL; set maxmemory',
  },
  {
    name: 'maxmemory-policy',
    info: { section: 'memory', field: 'maxmemory_policy' },
    isSafe: (value) => value === 'noeviction',
    expected: 'noeviction',
    advice:
      'a full Redis deletes jobs that wait; CONFIG SET maxmemory-policy noeviction, and set it in redis.conf',
  },
]

/**
 * The unsafe settings of this Redis, or of each primary of a cluster. `now` is the clock of this machine.
 * @throws when the server cannot be reached. A server that refuses CONFIG or INFO is a finding.
 */
export async function checkRedisSafety(
  client: Redis | Cluster,
  now?: () => number,
): Promise<SettingFinding[]> {
  if (!(client instanceof Cluster)) return await checkServer(client, 'redis', now)
  const primaries = client.nodes('master')
  const findings = await Promise.all(
    primaries.map((node) => checkServer(node, `redis ${node.options.host}:${node.options.port}`, now)),
  )
  return findings.flat()
}

async function checkServer(client: Redis, server: string, now?: () => number): Promise<SettingFinding[]> {
  const [rules, size, clock] = await Promise.all([
    Promise.all(RULES.map((rule) => checkRule(client, server, rule))),
    checkMachine(client, server),
    checkClock(server, () => readTime(client), now),
  ])
  return [...rules.filter((finding) => finding !== undefined), ...size, ...clock]
}

/** The server's clock in ms; NaN when the server refuses TIME. */
async function readTime(client: Redis): Promise<number> {
  const reply = await unlessRefused(client.time())
  const [seconds = Number.NaN, microseconds = 0] = (reply ?? []).map(Number)
  return seconds * 1000 + microseconds / 1000
}

/** Checks `maxmemory` against the machine's memory, above which the system kills Redis. In a container it is the host's. */
async function checkMachine(client: Redis, server: string): Promise<SettingFinding[]> {
  const read = async (field: string) => Number(await readInfo(client, { section: 'memory', field }))
  const [limit, machine] = [await read('maxmemory'), await read('total_system_memory')]
  if (!(limit > 0 && machine > 0 && limit >= machine)) return []
  return [
    {
      setting: `${server} maxmemory`,
      actual: `${limit} bytes on a machine with ${machine}`,
      expected: 'a limit below the memory of the machine',
      severity: 'unsafe',
      advice: 'the system kills Redis before it refuses anything; set maxmemory lower',
    },
  ]
}

async function checkRule(client: Redis, server: string, rule: Rule): Promise<SettingFinding | undefined> {
  const { name, expected, advice } = rule
  const value = (await readConfig(client, name)) ?? (await readInfo(client, rule.info))
  const about = { setting: `${server} ${name}`, expected }
  if (value === undefined)
    return {
      ...about,
      actual: 'unknown',
      severity: 'unchecked',
      advice: `the server refuses CONFIG GET; look it up where it is managed, because otherwise ${advice}`,
    }
  return rule.isSafe(value) ? undefined : { ...about, actual: value, severity: 'unsafe', advice }
}

async function readConfig(client: Redis, name: string): Promise<string | undefined> {
  const reply = await unlessRefused(client.config('GET', name))
  return Array.isArray(reply) && typeof reply[1] === 'string' ? reply[1] : undefined
}

async function readInfo(client: Redis, where: Rule['info']): Promise<string | undefined> {
  if (where === undefined) return undefined
  const info = await unlessRefused(client.info(where.section))
  return info === undefined ? undefined : new RegExp(`^${where.field}:(.*?)\\r?$`, 'm').exec(info)?.[1]
}

/** undefined when the server answers with an error: unknown command, no permission, renamed. */
async function unlessRefused<T>(reply: Promise<T>): Promise<T | undefined> {
  try {
    return await reply
  } catch (err) {
    if (err instanceof Error && err.name === 'ReplyError') return undefined
    throw err
  }
}

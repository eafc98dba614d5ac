/**
 * Is what Redis acknowledges on disk, and does it stay there? A webhook is answered once Redis has its events, so under
 * weaker settings an acknowledged message can be lost.
 */
import { Cluster, type Redis } from 'ioredis'
import type { SettingFinding } from '../core/setting-finding.ts'

type Rule = {
  /** Name for CONFIG GET. */
  name: string
  /** Section and field of INFO that say the same, where CONFIG is not allowed (most managed servers). */
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
 * What is unsafe about this Redis; of a cluster, about each primary. Empty: nothing.
 * @throws when the server cannot be reached. A server that refuses CONFIG or INFO is a finding.
 */
export async function checkRedisSafety(client: Redis | Cluster): Promise<SettingFinding[]> {
  if (!(client instanceof Cluster)) return await checkServer(client, 'redis')
  const primaries = client.nodes('master')
  const findings = await Promise.all(
    primaries.map((node) => checkServer(node, `redis ${node.options.host}:${node.options.port}`)),
  )
  return findings.flat()
}

async function checkServer(client: Redis, server: string): Promise<SettingFinding[]> {
  const findings = await Promise.all(RULES.map((rule) => checkRule(client, server, rule)))
  return findings.filter((finding) => finding !== undefined)
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

/** The systems that are compared, and how each is started. */
import path from 'node:path'
import { migrateQueueSchema } from '../src/queue/postgres-backend.ts'
import type { WorkloadName } from './workloads.ts'

export const CONTENDERS = [
  'floor',
  'direct',
  'bullmq-noop',
  'bullmq-plain',
  'redis',
  'postgres',
  'pg-boss',
  'graphile-worker',
] as const
export type ContenderName = (typeof CONTENDERS)[number]

export type Contender = {
  name: ContenderName
  summary: string
  /** The schema of the tables that it writes to. */
  tables: 'wa-ingest' | 'app'
  /** Whether it stores messages in PostgreSQL. Others are done when the job ends, or when the webhook is answered. */
  stores: boolean
  /** Arguments of Node, relative to the root of the project. */
  receiver: readonly string[]
  worker?: readonly string[]
  usesRedis: boolean
  usesPostgres: boolean
  /** Needs the packages of bench/package.json. */
  usesPeers: boolean
  /** Runs before its processes start. */
  prepare?: (databaseUrl: string) => Promise<void>
}

const script = (name: string) => [path.join(import.meta.dirname, 'contenders', `${name}.ts`)]
const command = (name: string) => [path.resolve(import.meta.dirname, '../bin/wa-ingest.js'), name]

const APP = { tables: 'app', stores: true, usesRedis: false, usesPostgres: true, usesPeers: false } as const
const OURS = {
  ...APP,
  tables: 'wa-ingest',
  receiver: command('api'),
  worker: command('worker'),
} as const
const pair = (name: string) => ({ receiver: script(`${name}-receiver`), worker: script(`${name}-worker`) })

const DEFINITIONS: Record<ContenderName, Omit<Contender, 'name'>> = {
  floor: {
    ...{ ...APP, stores: false, usesPostgres: false },
    summary: 'the receiver that only checks the signature and answers',
    receiver: script('floor-receiver'),
  },
  direct: {
    ...APP,
    summary: 'Express handler, one prepared statement for each message',
    receiver: script('direct-receiver'),
  },
  'bullmq-noop': {
    ...{ ...OURS, stores: false, usesRedis: true },
    summary: 'the receiver of wa-ingest, and a BullMQ worker that does nothing',
    worker: script('noop-worker'),
  },
  'bullmq-plain': {
    ...{ ...APP, ...pair('bullmq-plain'), usesRedis: true },
    summary: 'BullMQ as its README shows it: add for each message, one insert for each job',
  },
  redis: { ...OURS, usesRedis: true, summary: 'wa-ingest, its queue on Redis' },
  postgres: { ...OURS, summary: 'wa-ingest, its queue on PostgreSQL', prepare: migrateQueueSchema },
  'pg-boss': { ...APP, ...pair('pg-boss'), usesPeers: true, summary: 'pg-boss in batches' },
  'graphile-worker': {
    ...{ ...APP, ...pair('graphile-worker'), usesPeers: true },
    summary: 'graphile-worker with its batching',
  },
}

export function contenderNamed(name: ContenderName): Contender {
  return { name, ...DEFINITIONS[name] }
}

/** Each contender once, each workload once, and `mix` also with the tables of an application. */
export function isInQuickRun({ name }: Contender, workload: WorkloadName): boolean {
  return workload === 'single' || name === 'redis' || (name === 'direct' && workload === 'mix')
}

/** Whether the workload measures anything with this contender: `stall` and `large-table` need a database. */
export function canRun(contender: Contender, workload: WorkloadName): boolean {
  if (contender.stores) return true
  if (workload === 'stall' || workload === 'large-table') return false
  return (
    contender.worker !== undefined || workload === 'single' || workload === 'batch10' || workload === 'burst'
  )
}

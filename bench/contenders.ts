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

const DEFINITIONS: Record<ContenderName, Omit<Contender, 'name'>> = {
  floor: {
    summary: 'the receiver that only checks the signature and answers',
    tables: 'app',
    stores: false,
    receiver: script('floor-receiver'),
    usesRedis: false,
    usesPostgres: false,
    usesPeers: false,
  },
  direct: {
    summary: 'Express handler, one prepared statement for each message',
    tables: 'app',
    stores: true,
    receiver: script('direct-receiver'),
    usesRedis: false,
    usesPostgres: true,
    usesPeers: false,
  },
  'bullmq-noop': {
    summary: 'the receiver of wa-ingest, and a BullMQ worker that does nothing',
    tables: 'wa-ingest',
    stores: false,
    receiver: command('api'),
    worker: script('noop-worker'),
    usesRedis: true,
    usesPostgres: true,
    usesPeers: false,
  },
  'bullmq-plain': {
    summary: 'BullMQ as its README shows it: add for each message, one insert for each job',
    tables: 'app',
    stores: true,
    receiver: script('bullmq-plain-receiver'),
    worker: script('bullmq-plain-worker'),
    usesRedis: true,
    usesPostgres: true,
    usesPeers: false,
  },
  redis: {
    summary: 'wa-ingest, its queue on Redis',
    tables: 'wa-ingest',
    stores: true,
    receiver: command('api'),
    worker: command('worker'),
    usesRedis: true,
    usesPostgres: true,
    usesPeers: false,
  },
  postgres: {
    summary: 'wa-ingest, its queue on PostgreSQL',
    tables: 'wa-ingest',
    stores: true,
    receiver: command('api'),
    worker: command('worker'),
    usesRedis: false,
    usesPostgres: true,
    usesPeers: false,
    prepare: migrateQueueSchema,
  },
  'pg-boss': {
    summary: 'pg-boss in batches',
    tables: 'app',
    stores: true,
    receiver: script('pg-boss-receiver'),
    worker: script('pg-boss-worker'),
    usesRedis: false,
    usesPostgres: true,
    usesPeers: true,
  },
  'graphile-worker': {
    summary: 'graphile-worker with its batching',
    tables: 'app',
    stores: true,
    receiver: script('graphile-worker-receiver'),
    worker: script('graphile-worker-worker'),
    usesRedis: false,
    usesPostgres: true,
    usesPeers: true,
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
